import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  chatLine,
  ended,
  get,
  jsonl,
  read,
  runBatch,
  startWith,
  submit,
  submitFor,
  upload,
} from './harness.ts';

const lines = [chatLine('a', 'x'), chatLine('b', 'y')];
const megabyte = 1_048_576;

describe('a hostile answer about a batch', () => {
  /** The answers about a batch of a pipeline that is struck, with another beside it that is not. */
  async function retrievalOf(rule: string) {
    const { simulator, openai } = await startWith(`${rule};pipeline=hostile`);
    const { id } = await submitFor(openai, 'hostile', lines);
    const other = await submitFor(openai, 'healthy', lines);
    await Promise.all([ended(simulator, id), ended(simulator, other.id)]);
    expect(await openai.batches.retrieve(other.id)).toMatchObject({ id: other.id, status: 'completed' });
    return { id, response: await get(simulator, `/batches/${id}`) };
  }

  it('drips without end', async () => {
    const { id, response } = await retrievalOf('retrieve_drips;ms=1');
    expect(response.headers.get('content-type')).toContain('application/json');
    let text = '';
    const seen = await read(response, 60, (piece) => {
      text += Buffer.from(piece).toString();
    });
    expect(seen.isWhole).toBe(false);
    expect(text.startsWith(`{"id":"${id}"`.slice(0, text.length))).toBe(true);
  });

  it('is small on the way and large when it is unpacked', async () => {
    const { id, response } = await retrievalOf('retrieve_bomb;mb=20');
    expect(response.headers.get('content-encoding')).toBe('gzip');
    const text = await response.text();
    expect(text.length).toBeGreaterThan(20 * megabyte);
    expect(JSON.parse(text)).toMatchObject({ id, status: 'completed' });
  });

  it('is large as it is', async () => {
    const { id, response } = await retrievalOf('retrieve_huge;mb=3');
    expect(await response.json()).toMatchObject({ id, padding: 'x'.repeat(3 * megabyte) });
  });

  it('has bytes in it that are not UTF-8', async () => {
    const { id, response } = await retrievalOf('retrieve_not_utf8');
    const bytes = await response.arrayBuffer();
    expect(() => new TextDecoder('utf-8', { fatal: true }).decode(bytes)).toThrow();
    expect(JSON.parse(new TextDecoder().decode(bytes))).toMatchObject({ id, status: 'completed' });
  });

  it('is somewhere else', async () => {
    const { response } = await retrievalOf('retrieve_redirect;to=http://127.0.0.1:9/');
    expect([response.status, response.headers.get('location')]).toEqual([302, 'http://127.0.0.1:9/']);
  });

  it('holds counts that are none, by turns, in the list as well', async () => {
    const { openai } = await startWith('absurd_counts;pipeline=hostile');
    const seen: unknown[] = [];
    for (let i = 0; i < 4; i++) {
      const { id } = await submitFor(openai, 'hostile', lines);
      const shown = await openai.batches.retrieve(id);
      const listed = (await openai.batches.list()).data.find((batch) => batch.id === id)!;
      expect(listed.usage).toEqual(shown.usage);
      const { usage, request_counts: counts } = shown;
      expect(usage!.input_tokens_details.cached_tokens).toBe(counts!.total);
      seen.push(counts!.total);
    }
    expect(seen).toEqual([1e308, 9e18, -1, 'many']);
    expect((await runBatch(openai, lines)).request_counts).toEqual({ total: 2, completed: 2, failed: 0 });
  });

  it('holds errors that are none', async () => {
    const { openai } = await startWith('absurd_errors');
    const batch = await runBatch(openai, lines);
    expect(batch).toMatchObject({ status: 'failed', output_file_id: null });
    const [first, second, third] = batch.errors!.data! as unknown as Record<string, unknown>[];
    expect(first!.code).toEqual({ toString: 1, valueOf: 1 });
    expect((second!.message as string).length).toBeGreaterThan(megabyte);
    expect(third).toBeNull();
  });
});

describe('a hostile create', () => {
  it('has its effect and no answer', async () => {
    const { simulator, openai } = await startWith('create_lost@1;pipeline=hostile');
    await submitFor(openai, 'healthy', lines);
    await expect(submitFor(openai, 'hostile', lines)).rejects.toThrow('Connection error');
    expect(simulator.batches()).toHaveLength(2);
    await submitFor(openai, 'hostile', lines);
  });

  it('gives every batch of its pipeline the id of the first', async () => {
    const { simulator, openai } = await startWith('create_same_id;pipeline=hostile');
    const { id } = await submitFor(openai, 'hostile', lines);
    const other = await submitFor(openai, 'healthy', lines);
    expect((await submitFor(openai, 'hostile', lines)).id).toBe(id);
    expect(other.id).not.toBe(id);
    expect(new Set(simulator.batches().map((batch) => batch.id)).size).toBe(3);
  });
});

describe('a hostile upload', () => {
  it('is sent elsewhere, where the prompt of its first request says so, and has no effect', async () => {
    const { simulator, openai } = await startWith('upload_redirect;prompt=secret;to=http://127.0.0.1:9/x');
    await upload(openai, jsonl(lines));
    const form = new FormData();
    form.set('purpose', 'batch');
    form.set('file', new File([jsonl([chatLine('a', 'a secret')])], 'input.jsonl'));
    const response = await get(simulator, '/files', { method: 'POST', body: form });
    expect([response.status, response.headers.get('location')]).toEqual([307, 'http://127.0.0.1:9/x']);
    expect(simulator.files()).toHaveLength(1);
  });

  it('arrives there with a client that follows', async () => {
    let arrived = '';
    const server = createServer(async (request, response) => {
      for await (const piece of request) arrived += piece;
      response.end('{}');
    });
    server.listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await wait(0);
    const to = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const { openai } = await startWith(`upload_redirect;to=${to}`);
    await submit(openai, lines).catch(() => {});
    expect(arrived).toContain('"custom_id":"a"');
  });
});
