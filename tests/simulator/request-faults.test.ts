import { execFile } from 'node:child_process';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { createFaults } from '../../src/simulator/create-faults.ts';
import { parseFault } from '../../src/simulator/fault-rules.ts';
import { type RouteName, routeNames } from '../../src/simulator/route-names.ts';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { chatLine, clientFor, jsonl, runBatch, start, startWith, submit, until, upload } from './harness.ts';

const url = (file: string) => new URL(`../../src/simulator/${file}`, import.meta.url).href;
const params = { input_file_id: 'file-x', endpoint: '/v1/responses', completion_window: '24h' } as const;
const lines = [chatLine('a', 'x'), chatLine('b', 'y')];
// The usual second of a poll is no longer than what is waited for.
const patience = { timeout: 20_000 };
const headers = { authorization: 'Bearer k' };

async function rejection(work: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> {
  const error: unknown = await work.then(
    () => 'no rejection',
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(OpenAI.APIError);
  return error as InstanceType<typeof OpenAI.APIError>;
}

/** The innermost reason why a fetch failed. */
async function causeOf(work: Promise<Response>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason as { cause?: { code?: string } },
  );
  return error?.cause?.code ?? 'no error';
}

const serverErrors = [
  ['500', 500, { type: 'server_error', code: null }],
  ['503', 503, { type: 'server_error', code: null }],
  ['502', 502, { code: undefined, error: undefined }],
] as const;

describe('a request that is not done', () => {
  it.each([
    ...serverErrors.map(([name, status, error]) => [`http_${name}`, status, error] as const),
    ['http_429', 429, { type: 'requests', code: 'rate_limit_exceeded' }] as const,
    ['token_limit_400', 400, { code: 'token_limit_exceeded' }] as const,
    ['token_limit_429', 429, { code: 'token_limit_exceeded' }] as const,
    ['reset_before', undefined, {}] as const,
    ['timeout_before', undefined, {}] as const,
  ])('is answered as %s says, and leaves no trace', async (fault, status, error) => {
    const { openai, simulator } = await startWith(
      fault === 'timeout_before' ? `${fault}:create@2;ms=30` : `${fault}:create@2`,
    );
    await openai.batches.create(params);
    const failure = await rejection(openai.batches.create(params));
    expect(failure).toMatchObject({ status, ...error });
    if (status === undefined) expect(failure).toBeInstanceOf(OpenAI.APIConnectionError);
    await openai.batches.create(params);
    expect(simulator.ledger.batchesCreated).toBe(2);
  });

  it('keeps no file of an upload, however large it is', async () => {
    const { openai, simulator } = await startWith('http_500:upload@1', 'reset_before:upload@2');
    const content = jsonl([chatLine('a', 'x'.repeat(5_000_000))]);
    await expect(upload(openai, content)).rejects.toBeInstanceOf(OpenAI.APIError);
    await expect(upload(openai, content)).rejects.toBeInstanceOf(OpenAI.APIConnectionError);
    expect(simulator.files()).toEqual([]);
    await upload(openai, content);
    expect(simulator.files()).toHaveLength(1);
  });

  it('says when to come back where there were too many', async () => {
    const { openai } = await startWith('http_429', 'token_limit_429');
    expect((await rejection(openai.batches.list())).headers!.get('retry-after')).toBe('1');
  });

  it('says which limit of tokens is reached, and that of a create alone', async () => {
    const { openai } = await startWith('token_limit_400');
    const inputFileId = await upload(openai, jsonl(lines));
    expect((await openai.batches.list()).data).toEqual([]);
    const failure = await rejection(openai.batches.create({ ...params, input_file_id: inputFileId }));
    expect(failure.message).toMatch(
      /Enqueued token limit reached .* Limit: 2,000,000 enqueued tokens\. Please/,
    );
  });

  it.each(['http_502', 'http_502_after'])(
    'is answered with a page and not with JSON by %s',
    async (fault) => {
      const { simulator } = await startWith(fault);
      const response = await fetch(`${simulator.url}/batches`, { headers });
      expect(response.status).toBe(502);
      expect(response.headers.get('content-type')).toMatch(/^text\/html/);
      expect(await response.text()).toMatch(/^<html>.*502 Bad Gateway.*<\/html>\s*$/s);
    },
  );

  it('is held for as long as the rule says before a timeout drops it', async () => {
    const { simulator } = await startWith('timeout_before:list;ms=150', 'timeout_after:list_files;ms=150');
    for (const path of ['batches', 'files']) {
      const before = performance.now();
      expect(await causeOf(fetch(`${simulator.url}/${path}`, { headers }))).toBe('UND_ERR_SOCKET');
      expect(performance.now() - before).toBeGreaterThan(140);
    }
  });

  it.each(['reset_before', 'reset_after', 'late_effect'])('has its connection reset by %s', async (fault) => {
    const { simulator } = await startWith(fault);
    for (const path of ['batches', 'files'])
      expect(await causeOf(fetch(`${simulator.url}/${path}`, { headers }))).toBe('ECONNRESET');
  });
});

describe('a request that is done and whose answer is lost', () => {
  it.each([
    ...serverErrors.map(([name, status, error]) => [`http_${name}_after`, status, error] as const),
    ['reset_after', undefined, {}] as const,
    ['timeout_after', undefined, {}] as const,
  ])('is answered as %s says, and has its effect', async (fault, status, error) => {
    const options = fault === 'timeout_after' ? '@1;ms=30' : '@1';
    const { openai, simulator } = await startWith(`${fault}:create${options}`, `${fault}:upload${options}`);
    expect(await rejection(upload(openai, jsonl(lines)))).toMatchObject({ status, ...error });
    const [file] = simulator.files();
    expect(file).toMatchObject({ purpose: 'batch', bytes: jsonl(lines).length });
    const wanted = { ...params, endpoint: '/v1/chat/completions', input_file_id: file!.id } as const;
    const failure = await rejection(openai.batches.create(wanted));
    expect(failure).toMatchObject({ status, ...error });
    if (status === undefined) expect(failure).toBeInstanceOf(OpenAI.APIConnectionError);
    const { data } = await openai.batches.list();
    expect(data).toHaveLength(1);
    expect(await until(openai, data[0]!.id)).toMatchObject({ request_counts: { completed: 2 } });
  });

  it('may be a download, of which nothing is sent', async () => {
    const { openai } = await startWith('http_500_after:content@1', 'reset_after:content@2');
    const id = await upload(openai, jsonl(lines));
    expect(await rejection(openai.files.content(id))).toMatchObject({ status: 500, type: 'server_error' });
    expect(await rejection(openai.files.content(id))).toBeInstanceOf(OpenAI.APIConnectionError);
    expect(await (await openai.files.content(id)).text()).toBe(jsonl(lines));
  });
});

describe('a request with a late effect', () => {
  it('is lost at once, and done when its client is gone', async () => {
    const { openai, simulator } = await startWith('late_effect;ms=1500');
    const content = jsonl([chatLine('a', 'x'.repeat(3_000_000))]);
    const before = performance.now();
    await expect(upload(openai, content)).rejects.toBeInstanceOf(OpenAI.APIConnectionError);
    await expect(openai.batches.create(params)).rejects.toBeInstanceOf(OpenAI.APIConnectionError);
    expect(performance.now() - before).toBeLessThan(1_500);
    expect([simulator.files(), simulator.batches()]).toEqual([[], []]);
    await expect.poll(() => simulator.files(), patience).toMatchObject([{ bytes: content.length }]);
    await expect.poll(() => simulator.batches(), patience).toMatchObject([{ input_file_id: 'file-x' }]);
  });

  it('may be a cancel', async () => {
    const { openai, simulator } = await startWith('late_effect:cancel;ms=30', 'stuck_validating');
    const { id } = await submit(openai, lines);
    await expect(openai.batches.cancel(id)).rejects.toBeInstanceOf(OpenAI.APIConnectionError);
    await expect.poll(() => simulator.batches(), patience).toMatchObject([{ id, status: 'cancelled' }]);
  });

  it('is never done once the simulator closes', async () => {
    const simulator = await startSimulator({ faults: createFaults([parseFault('late_effect;ms=700')]) });
    await expect(clientFor(simulator).batches.create(params)).rejects.toThrow();
    await expect(upload(clientFor(simulator), jsonl(lines))).rejects.toThrow();
    await simulator.close();
    // Longer than the effect would have taken.
    await wait(900);
    expect([simulator.files(), simulator.batches()]).toEqual([[], []]);
  });
});

describe('a rule for one route', () => {
  const request: Record<RouteName, (openai: OpenAI, batch: OpenAI.Batch) => Promise<unknown>> = {
    upload: (openai) => upload(openai, jsonl(lines)),
    list_files: (openai) => openai.files.list(),
    retrieve_file: (openai, batch) => openai.files.retrieve(batch.input_file_id),
    content: (openai, batch) => openai.files.content(batch.input_file_id),
    delete_file: (openai, batch) => openai.files.delete(batch.input_file_id),
    create: (openai) => openai.batches.create(params),
    list: (openai) => openai.batches.list(),
    retrieve: (openai, batch) => openai.batches.retrieve(batch.id),
    cancel: (openai, batch) => openai.batches.cancel(batch.id),
  };

  it.each(routeNames)('strikes %s and nothing else', async (route) => {
    // The first of the route's requests makes the batch that the others need.
    const needed = { upload: 2, create: 2 } as Partial<Record<RouteName, number>>;
    const { openai } = await startWith(`http_503:${route}@${needed[route] ?? 1}`, 'stuck_validating');
    const batch = await submit(openai, lines);
    const struck: string[] = [];
    // A file goes last.
    for (const name of [...routeNames.filter((each) => each !== 'delete_file'), 'delete_file'] as const) {
      await request[name](openai, batch).catch((error: { status?: number }) => {
        expect(error.status).toBe(503);
        struck.push(name);
      });
    }
    expect(struck).toEqual([route]);
  });

  it('leaves the synchronous endpoints and the ledger alone, as one without a route does', async () => {
    const { openai, simulator } = await startWith('http_503');
    await expect(openai.batches.list()).rejects.toMatchObject({ status: 503 });
    await openai.responses.create({ model: 'gpt-4o-mini', input: 'x' });
    expect((await fetch(new URL('/ledger', simulator.url))).status).toBe(200);
  });
});

describe('a simulator that holds requests', () => {
  const closesSoon = async (simulator: Simulator) => {
    const before = performance.now();
    await simulator.close();
    expect(performance.now() - before).toBeLessThan(1_000);
  };

  it.each(['timeout_before', 'timeout_after'])('closes at once in spite of %s', async (fault) => {
    const { promise: isHeld, resolve: hold } = Promise.withResolvers<void>();
    const faults = createFaults([parseFault(fault)]);
    const decide = faults.beforeReply!;
    faults.beforeReply = (request) => {
      hold();
      return decide(request);
    };
    const simulator = await startSimulator({ faults });
    const lost = expect(upload(clientFor(simulator), jsonl(lines))).rejects.toBeInstanceOf(
      OpenAI.APIConnectionError,
    );
    await isHeld;
    // Until the request is where it is held; sooner would be just as well.
    await wait(50);
    await closesSoon(simulator);
    await lost;
  });

  it('leaves nothing behind that would keep its process alive', async () => {
    const script = `
      import { createFaults } from '${url('create-faults.ts')}';
      import { parseFault } from '${url('fault-rules.ts')}';
      import { startSimulator } from '${url('simulator.ts')}';
      const rules = ['timeout_before:list', 'timeout_after:list_files', 'late_effect:create;ms=1e6'];
      const simulator = await startSimulator({ faults: createFaults(rules.map(parseFault)) });
      const ask = (path, body) => fetch(simulator.url + path, {
        method: body ? 'POST' : 'GET', body, signal: AbortSignal.timeout(500),
        headers: { authorization: 'Bearer k', 'content-type': 'application/json' },
      }).catch(() => {});
      await Promise.all([ask('/batches'), ask('/files'), ask('/batches', '{}')]);
      await simulator.close();`;
    const node = promisify(execFile);
    await node(process.execPath, ['--input-type=module', '-e', script], { timeout: 20_000 });
  });

  it('lets go of a request whose client has given up', async () => {
    const { simulator, openai } = await startWith('timeout_after:create@1');
    await expect(openai.batches.create(params, { timeout: 100 })).rejects.toBeInstanceOf(
      OpenAI.APIConnectionTimeoutError,
    );
    expect(simulator.ledger.batchesCreated).toBe(1);
    await closesSoon(simulator);
  });
});

describe('a simulator without faults of requests', () => {
  it('serves them all the same', async () => {
    const { openai } = await start({ faults: createFaults([parseFault('line_doubled@1')]) });
    expect(await runBatch(openai, lines)).toMatchObject({ status: 'completed' });
  });
});
