import pino from 'pino';
import { Webhook } from 'standardwebhooks';
import { expect, it } from 'vitest';
import { buildApp } from '../../src/app.ts';
import type { Deps } from '../../src/deps.ts';
import { createMetrics } from '../../src/metrics.ts';
import type { Submission } from '../../src/submission/submission.ts';
import { ingestSecret } from '../support/service.ts';

/** A worker whose memory is full, and whose database must not be asked. */
async function buildBusyApp(secret: string | undefined) {
  const untouched = new Proxy(
    {},
    { get: (_target, name) => () => expect.fail(`${String(name)} was called`) },
  );
  const deps = {
    store: untouched,
    provider: untouched,
    logger: pino({ level: 'silent' }),
    metrics: createMetrics(),
  } as unknown as Deps;
  const submission = { hasRoom: (bytes: number) => bytes < 35 } as Submission;
  return await buildApp({ deps, submission, ingestSecret: secret, wakePoll: () => {}, version: 'test' });
}

function signedPost(body: string) {
  const at = new Date();
  return {
    method: 'POST' as const,
    url: '/v1/chunks',
    payload: body,
    headers: {
      'content-type': 'application/json',
      'webhook-id': 'chunk_1',
      'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
      'webhook-signature': new Webhook(ingestSecret).sign('chunk_1', at, body),
    },
  };
}

it('a worker with too much in memory turns a post away with 503 and says when to come again', async () => {
  const app = await buildBusyApp(ingestSecret);
  const response = await app.inject(signedPost(JSON.stringify({ chunk_id: 1, pipeline: 'films', rows: [] })));
  expect(response.statusCode).toBe(503);
  expect(Number(response.headers['retry-after'])).toBeGreaterThan(0);
  expect(response.json()).toMatchObject({
    error: { code: 'busy', message: expect.stringContaining('stays queued') },
  });
});

it('a worker without a secret takes no post at all', async () => {
  const app = await buildBusyApp(undefined);
  const response = await app.inject(signedPost(JSON.stringify({ chunk_id: 1, pipeline: 'f' })));
  expect(response.statusCode).toBe(401);
  expect(response.json()).toMatchObject({ error: { code: 'no_secret' } });
});
