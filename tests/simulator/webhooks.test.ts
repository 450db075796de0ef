import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import type OpenAI from 'openai';
import { Webhook } from 'standardwebhooks';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createFaults } from '../../src/simulator/create-faults.ts';
import { parseFault } from '../../src/simulator/fault-rules.ts';
import { webhookSecret as secret } from '../support/signed-webhook.ts';
import { chatLine, runBatch, start, submit, until } from './harness.ts';

// The machine may be busy.
const soon = { timeout: 20_000 };

type Received = { headers: IncomingHttpHeaders; body: string };

/** Somebody who is told, and answers as the test says; 200 where it says nothing. */
async function listen(
  answer: (response: ServerResponse, nth: number) => void = (response) => response.end(),
) {
  const received: Received[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    received.push({ headers: request.headers, body });
    answer(response, received.length);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { received, target: { url: `http://127.0.0.1:${port}/hook`, secret, retryMs: 5 } };
}
const status = (code: number) => (response: ServerResponse) => response.writeHead(code).end();

describe('a webhook of the simulator', () => {
  it('tells of a batch that has ended, and the SDK finds it signed', async () => {
    const { received, target } = await listen();
    const { openai, simulator } = await start({ webhooks: target });
    const batch = await runBatch(openai, [chatLine('a', 'x')]);
    await expect.poll(() => simulator.webhooks().map(({ statuses }) => statuses), soon).toEqual([[200]]);
    const [{ body, headers }] = received as [Received];
    const event = (await openai.webhooks.unwrap(body, headers, secret)) as { id: string; created_at: number };
    expect(event).toMatchObject({ object: 'event', type: 'batch.completed', data: { id: batch.id } });
    expect(event.id).toMatch(/^evt_/);
    expect(Math.abs(event.created_at - Date.now() / 1000)).toBeLessThan(60);
    expect(headers['content-type']).toBe('application/json');
    expect(headers['webhook-id']).toMatch(/^wh_/);
    // The standard's own library finds so, too, and a stranger's secret does not fit.
    expect(new Webhook(secret).verify(body, headers as Record<string, string>)).toEqual(event);
    const other = `whsec_${Buffer.alloc(24, 1).toString('base64')}`;
    await expect(openai.webhooks.unwrap(body, headers, other)).rejects.toThrow('signature');
  });

  it.each([
    ['batch.failed', [], [{ custom_id: 'a' }]],
    ['batch.expired', ['expires'], [chatLine('a', 'x')]],
    ['batch.cancelled', ['cancels'], [chatLine('a', 'x')]],
  ] as const)('says %s', async (type, rules, lines) => {
    const { received, target } = await listen();
    const faults = createFaults(rules.map(parseFault));
    const { openai, simulator } = await start({ webhooks: target, faults });
    await runBatch(openai, [...lines]);
    await expect.poll(() => simulator.webhooks().map(({ statuses }) => statuses), soon).toEqual([[200]]);
    expect(JSON.parse(received[0]!.body)).toMatchObject({ type });
  });

  it('says so when a client cancels a batch that is being validated', async () => {
    const { target } = await listen();
    const { openai, simulator } = await start({ webhooks: target, delays: { validatingMs: 60_000 } });
    const { id } = await submit(openai, [chatLine('a', 'x')]);
    await openai.batches.cancel(id);
    await expect
      .poll(() => simulator.webhooks(), soon)
      .toMatchObject([{ type: 'batch.cancelled', batchId: id, statuses: [200] }]);
  });

  it('is delivered again, under one id and signed anew, until it is taken', async () => {
    const answers = [500, 404, 302, 204];
    const { received, target } = await listen((response, nth) => {
      response.writeHead(answers[nth - 1]!, { location: '/elsewhere' }).end();
    });
    const { openai, simulator } = await start({ webhooks: target });
    await runBatch(openai, [chatLine('a', 'x')]);
    await expect.poll(() => simulator.webhooks()[0]?.statuses, soon).toEqual(answers);
    expect(new Set(received.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    expect(new Set(received.map(({ body }) => body)).size).toBe(1);
    for (const { body, headers } of received) await openai.webhooks.unwrap(body, headers, secret);
  });

  it('is delivered again where the connection breaks', async () => {
    const { target } = await listen((response, nth) => (nth === 1 ? response.destroy() : response.end()));
    const { openai, simulator } = await start({ webhooks: target });
    await runBatch(openai, [chatLine('a', 'x')]);
    await expect.poll(() => simulator.webhooks()[0]?.statuses, soon).toEqual([0, 200]);
  });

  it('waits twice as long before each further attempt', async () => {
    const at: number[] = [];
    const { target } = await listen((response, nth) => {
      at.push(performance.now());
      status(nth < 4 ? 503 : 200)(response);
    });
    const { openai, simulator } = await start({ webhooks: { ...target, retryMs: 40 } });
    await runBatch(openai, [chatLine('a', 'x')]);
    await expect.poll(() => simulator.webhooks()[0]?.statuses, soon).toEqual([503, 503, 503, 200]);
    const gaps = at.slice(1).map((moment, i) => moment - at[i]!);
    // Timers are never early but for their rounding.
    for (const [i, gap] of gaps.entries()) expect(gap).toBeGreaterThan(40 * 2 ** i - 2);
  });

  it('goes to whoever is registered when the batch ends, and to nobody before', async () => {
    const { received, target } = await listen();
    const { openai, simulator } = await start();
    await runBatch(openai, [chatLine('a', 'x')]);
    simulator.sendWebhooks(target);
    const batch: OpenAI.Batch = await runBatch(openai, [chatLine('a', 'x')]);
    await expect.poll(() => received.map(({ body }) => JSON.parse(body).data.id), soon).toEqual([batch.id]);
  });

  it('keeps nobody who closes the simulator waiting', async () => {
    const { received, target } = await listen(() => {});
    const { openai, simulator } = await start({ webhooks: target });
    await until(openai, (await submit(openai, [chatLine('a', 'x')])).id);
    await expect.poll(() => received.length, soon).toBe(1);
    const closed = simulator.close().then(() => 'closed');
    expect(await Promise.race([closed, wait(5_000, 'it hangs', { ref: false })])).toBe('closed');
  });

  it('is dropped with its retries when the simulator closes', async () => {
    const { received, target } = await listen(status(500));
    const { openai, simulator } = await start({ webhooks: { ...target, retryMs: 60_000 } });
    await runBatch(openai, [chatLine('a', 'x')]);
    await expect.poll(() => received.length, soon).toBe(1);
    const closed = simulator.close().then(() => 'closed');
    expect(await Promise.race([closed, wait(5_000, 'it hangs', { ref: false })])).toBe('closed');
  });
});
