import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyBaseLogger } from 'fastify';
import { registerAnswerRoutes } from './answer-routes.ts';
import type { BatchObject } from './batch-object.ts';
import { registerBatchRoutes } from './batch-routes.ts';
import { BatchRunner, type Delays } from './batch-runner.ts';
import { CreateRate } from './create-rate.ts';
import { EnqueuedTokens } from './enqueued-tokens.ts';
import type { Faults } from './faults.ts';
import { registerFileRoutes } from './file-routes.ts';
import { type FileObject, FileStore } from './file-store.ts';
import { createHttp } from './http.ts';
import { Ledger } from './ledger.ts';
import { type WebhookDelivery, Webhooks, type WebhookTarget } from './webhooks.ts';

export type SimulatorOptions = {
  /** 127.0.0.1 */
  host?: string;
  /** 0, a free one */
  port?: number;
  /** Where the files live; by default a fresh temporary directory, removed on close. */
  directory?: string;
  /** How long the phases of a batch take; all 0. */
  delays?: Partial<Delays>;
  /** Where it misbehaves; nowhere. */
  faults?: Faults;
  /** The most input tokens that the batches of a model may hold until they end; a batch beyond fails. No limit. */
  enqueuedTokens?: number;
  /** How many batches may be created within any hour; a create beyond answers 429. No limit. */
  batchesPerHour?: number;
  /** The part of the input tokens that usage tells as cached, 0..1; 0. */
  cachedShare?: number;
  /** Who is told when a batch has ended; nobody. */
  webhooks?: WebhookTarget;
  logger?: FastifyBaseLogger;
};

export type Simulator = {
  /** Ends in /v1, as the SDK's baseURL does. */
  url: string;
  port: number;
  ledger: Ledger;
  /** Every batch as it is now, the oldest first; copies. */
  batches(): BatchObject[];
  /** By model (dated, as batches show it): the input tokens of its batches that were validated and have not ended. */
  enqueued(): Record<string, number>;
  /** By model: the most that it ever was. */
  enqueuedPeak(): Record<string, number>;
  /** Every file that could be downloaded now, the oldest first; copies. */
  files(): FileObject[];
  /** From now on, whoever is named here is told of each batch that ends: what one does in OpenAI's dashboard. */
  sendWebhooks(target: WebhookTarget): void;
  /** Every webhook that was or is being delivered, the oldest first; copies. */
  webhooks(): WebhookDelivery[];
  /** Drops what runs and what is connected; resolves once nothing is left. */
  close(): Promise<void>;
};

/**
 * Starts a server that behaves as OpenAI's Files and Batches do. It keeps nothing beyond its own life: after
 * a restart no file and no batch is known.
 */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const { host = '127.0.0.1', port = 0, faults = {}, cachedShare = 0, logger } = options;
  const directory = options.directory ?? (await mkdtemp(join(tmpdir(), 'rowmill-simulator-')));
  await mkdir(directory, { recursive: true });
  const files = new FileStore(directory);
  const ledger = new Ledger(() => files.size);
  const app = createHttp(faults, logger);
  const enqueued = new EnqueuedTokens(options.enqueuedTokens);
  const webhooks = new Webhooks(options.webhooks);
  const runner = new BatchRunner({
    ...{ files, ledger, faults, enqueued, cachedShare },
    delays: { validatingMs: 0, perRequestMs: 0, finalizingMs: 0, ...options.delays },
    onEnded: (batch) => webhooks.announce(batch),
    onError: (error, batch) => app.log.error({ error, batch: batch.id }, 'a batch broke off'),
  });
  const batches = new Map<string, BatchObject>();
  registerFileRoutes(app, { files, faults, batches });
  const rate = new CreateRate(options.batchesPerHour);
  registerBatchRoutes(app, { batches, runner, ledger, faults, rate });
  registerAnswerRoutes(app, ledger, cachedShare);
  // Outside /v1, for whoever runs the simulator in another process; OpenAI has no such thing.
  app.get('/ledger', () => ledger.summary());

  const close = async () => {
    await app.close();
    await runner.close();
    await webhooks.close();
    if (options.directory === undefined) await rm(directory, { recursive: true, force: true });
  };
  try {
    await app.listen({ host, port });
  } catch (error) {
    await close();
    throw error;
  }
  const address = app.server.address() as AddressInfo;
  const shown = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return {
    url: `http://${shown}:${address.port}/v1`,
    port: address.port,
    ledger,
    batches: () => structuredClone([...batches.values()]),
    enqueued: () => enqueued.now(),
    enqueuedPeak: () => enqueued.peaks(),
    files: () => structuredClone(files.all()),
    sendWebhooks: (target) => {
      webhooks.target = target;
    },
    webhooks: () => structuredClone(webhooks.deliveries),
    close,
  };
}
