import { createHmac, randomBytes } from 'node:crypto';
import type { BatchObject } from './batch-object.ts';
import { unixSeconds } from './ids.ts';
import { pause } from './pauses.ts';

export type WebhookTarget = {
  url: string;
  /** `whsec_` and base64, as OpenAI shows it once for each endpoint. */
  secret: string;
  /** How long until a delivery that was not taken is repeated; twice as long after each further one. 1000 */
  retryMs?: number;
};

export type WebhookDelivery = {
  /** The same at each attempt. */
  id: string;
  type: string;
  batchId: string;
  /** What each attempt was answered with; 0 where no answer came. */
  statuses: number[];
};

const longestRetryMs = 3_600_000;
const giveUpAfterMs = 72 * 3_600_000;
const patienceMs = 15_000;

/**
 * Tells whoever is registered that a batch has ended, as OpenAI does: a thin event, signed, at least once, and again
 * until something in the two hundreds comes back. A redirect is no such thing.
 */
export class Webhooks {
  target: WebhookTarget | undefined;
  readonly deliveries: WebhookDelivery[] = [];
  #pending = new Set<Promise<void>>();
  #closing = new AbortController();

  constructor(target: WebhookTarget | undefined) {
    this.target = target;
  }

  /** Begins to deliver, and returns at once. What ends while nobody is registered is told to nobody. */
  announce(batch: BatchObject): void {
    if (!this.target || this.#closing.signal.aborted) return;
    const delivery = { id: `wh_${hex(16)}`, type: `batch.${batch.status}`, batchId: batch.id, statuses: [] };
    this.deliveries.push(delivery);
    const sent = this.#deliver(this.target, delivery).finally(() => this.#pending.delete(sent));
    this.#pending.add(sent);
  }

  /** Drops what is on its way; resolves once nothing is. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#pending);
  }

  async #deliver(target: WebhookTarget, delivery: WebhookDelivery): Promise<void> {
    const { type, batchId } = delivery;
    const event = {
      id: `evt_${hex(16)}`,
      object: 'event',
      created_at: unixSeconds(),
      type,
      data: { id: batchId },
    };
    const body = JSON.stringify(event);
    const { signal } = this.#closing;
    const beganAt = performance.now();
    let waitMs = target.retryMs ?? 1000;
    while (!signal.aborted && performance.now() - beganAt < giveUpAfterMs) {
      const status = await post(target, delivery.id, body, signal);
      if (signal.aborted) return;
      delivery.statuses.push(status);
      if (status >= 200 && status < 300) return;
      await pause(waitMs, signal);
      waitMs = Math.min(waitMs * 2, longestRetryMs);
    }
  }
}

/** One attempt, with a time and a signature of its own. */
async function post(target: WebhookTarget, id: string, body: string, signal: AbortSignal): Promise<number> {
  const timestamp = unixSeconds();
  const key = Buffer.from(target.secret.replace(/^whsec_/, ''), 'base64');
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64');
  try {
    const response = await fetch(target.url, {
      method: 'POST',
      body,
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(patienceMs)]),
      headers: {
        'content-type': 'application/json',
        'webhook-id': id,
        'webhook-timestamp': String(timestamp),
        'webhook-signature': `v1,${signature}`,
      },
    });
    await response.body?.cancel();
    return response.status;
  } catch {
    return 0;
  }
}

function hex(bytes: number): string {
  return randomBytes(bytes).toString('hex');
}
