import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { batchLimits, validateInput } from '../../src/simulator/batch-validation.ts';
import { chatLine, jsonl, type Line, runBatch, start } from './harness.ts';

const good = chatLine('good', 'x');
const without = (key: string) => {
  const { [key]: _dropped, ...rest } = chatLine('bad', 'x');
  return rest;
};
const body = (change: Line) => chatLine('bad', 'x', undefined, change);

const cases: [code: string, param: string | null, line: Line | string, message: string][] = [
  ['invalid_json_line', null, '{"custom_id":', 'This line is not parseable as valid JSON.'],
  ['invalid_json_line', null, '', 'This line is not parseable as valid JSON.'],
  [
    'missing_required_parameter',
    'custom_id',
    without('custom_id'),
    "Missing required parameter: 'custom_id'.",
  ],
  ['missing_required_parameter', 'method', without('method'), "Missing required parameter: 'method'."],
  ['missing_required_parameter', 'url', without('url'), "Missing required parameter: 'url'."],
  ['missing_required_parameter', 'body', without('body'), "Missing required parameter: 'body'."],
  [
    'invalid_url',
    'url',
    { ...chatLine('bad', 'x'), url: '/v1/responses' },
    'The URL provided for this request does not match the batch endpoint.',
  ],
  [
    'model_not_found',
    'body.model',
    body({ model: 'whisper-1' }),
    "The provided model 'whisper-1' is not supported by the Batch API.",
  ],
  ['invalid_request', 'body.model', body({ model: undefined }), 'Model parameter is required.'],
  ['invalid_request', 'body.messages', body({ messages: undefined }), 'Messages parameter is required.'],
  [
    'streaming_unsupported',
    'body.stream',
    body({ stream: true }),
    'Chat Completions: Streaming is not supported in the Batch API.',
  ],
  ['mismatched_model', 'body.model', body({ model: 'gpt-4.1-nano' }), 'gpt-4.1-nano'],
  ['duplicate_custom_id', 'custom_id', chatLine('good', 'y'), 'good'],
  ['invalid_method', 'method', { ...chatLine('bad', 'x'), method: 'GET' }, 'POST'],
];

describe('validation', () => {
  it.each(cases)('fails a batch with %s (%s)', async (code, param, line, message) => {
    const { openai, simulator } = await start();
    const batch = await runBatch(openai, [good, line, chatLine('other', 'x')]);
    expect(batch).toMatchObject({ status: 'failed', output_file_id: null, error_file_id: null });
    expect(batch.failed_at).not.toBeNull();
    expect(batch.errors).toMatchObject({ object: 'list', data: [{ code, param, line: 2 }] });
    expect(batch.errors!.data![0]!.message).toContain(message);
    expect(simulator.ledger.executed).toBe(0);
  });

  it('reports several bad lines together', async () => {
    const { openai } = await start();
    const batch = await runBatch(openai, [good, 'nonsense', chatLine('good', 'x'), without('url')]);
    expect(batch.errors!.data!.map(({ code, line }) => [line, code])).toEqual([
      [2, 'invalid_json_line'],
      [3, 'duplicate_custom_id'],
      [4, 'missing_required_parameter'],
    ]);
  });

  it('fails a batch whose input file is not there', async () => {
    const { openai } = await start();
    const created = await openai.batches.create({
      input_file_id: 'file-gone',
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    });
    expect(created.status).toBe('validating');
    await expect.poll(async () => (await openai.batches.retrieve(created.id)).status).toBe('failed');
    const { errors } = await openai.batches.retrieve(created.id);
    expect(errors!.data).toMatchObject([{ code: 'invalid_request', param: 'file_id', line: null }]);
    expect(errors!.data![0]!.message).toMatch(
      /^Cannot find file file-gone, or organization .* access to it\.$/,
    );
  });

  it('takes 50,000 requests and no more', async () => {
    const line = (_: unknown, i: number) =>
      `{"custom_id":"${i}","method":"POST","url":"/v1/chat/completions",`;
    const request = '"body":{"model":"m","messages":[]}}\n';
    const of = (count: number) => Array.from({ length: count }, line).map((head) => head + request);
    expect(await check(of(50_000).join(''))).toMatchObject({ total: 50_000, errors: [] });
    expect((await check(of(50_001).join(''))).errors).toMatchObject([{ code: 'too_many_tasks', line: null }]);
  });

  it('refuses a file above the limit of bytes', async () => {
    expect(batchLimits.bytes).toBe(200 * 1024 * 1024);
    const { errors } = await check(jsonl([good]), { ...batchLimits, bytes: 100 });
    expect(errors).toMatchObject([{ line: null }]);
    expect(errors[0]!.message).toBe(
      'The batch input file is larger than the 100 maximum for the gpt-4o-mini model',
    );
  });

  it('fails an empty file', async () => {
    expect((await check('')).errors).toMatchObject([{ code: 'empty_file' }]);
  });

  it('adds what a fault reports', async () => {
    const error = {
      code: 'token_limit_exceeded',
      message: 'Enqueued token limit reached',
      param: null,
      line: null,
    };
    const { openai } = await start({ faults: { validation: () => [error] } });
    expect((await runBatch(openai, [good])).errors!.data).toEqual([error]);
  });
});

async function check(content: string, limits = batchLimits) {
  const directory = await mkdtemp(join(tmpdir(), 'rowmill-validation-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  const path = join(directory, 'input.jsonl');
  await writeFile(path, content);
  const handle = await open(path);
  try {
    return await validateInput(handle, '/v1/chat/completions', new AbortController().signal, limits);
  } finally {
    await handle.close();
  }
}
