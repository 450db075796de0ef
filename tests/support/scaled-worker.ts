import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Service } from '../../src/service.ts';

export type ScaledWorker = {
  /** Where requests come in. */
  url: string;
  /** How often a worker was started. */
  starts(): number;
  /** Ends the worker that runs; the next request starts another. */
  scaleToZero(): Promise<void>;
  stop(): Promise<void>;
};

/** Stands in for a platform that runs a worker only while there are requests: the first one starts it, and is handed on. */
export async function startScaledWorker(startWorker: () => Promise<Service>): Promise<ScaledWorker> {
  let worker: Promise<Service> | null = null;
  let starts = 0;
  const server = createServer(async (request, response) => {
    try {
      if (worker === null) {
        starts += 1;
        worker = startWorker();
      }
      const body = await bodyOf(request);
      const { url } = await worker;
      const answer = await fetch(new URL(request.url!, url), {
        method: request.method!,
        headers: Object.entries(request.headers).filter(
          ([name, value]) => /^(?:content-type|webhook-)/.test(name) && typeof value === 'string',
        ) as [string, string][],
        body,
      });
      response.writeHead(answer.status, { 'content-type': 'application/json' });
      response.end(await answer.text());
    } catch (error) {
      response.writeHead(502).end(String(error));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const scaleToZero = async () => {
    const running = worker;
    worker = null;
    await (await running)?.stop();
  };
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    starts: () => starts,
    scaleToZero,
    async stop() {
      await new Promise((resolve) => server.close(resolve));
      await scaleToZero();
    },
  };
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}
