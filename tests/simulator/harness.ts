import { setTimeout as wait } from 'node:timers/promises';
import OpenAI, { toFile } from 'openai';
import { onTestFinished } from 'vitest';
import { type BatchObject, hasEnded } from '../../src/simulator/batch-object.ts';
import { createFaults } from '../../src/simulator/create-faults.ts';
import { parseFault } from '../../src/simulator/fault-rules.ts';
import { type Simulator, type SimulatorOptions, startSimulator } from '../../src/simulator/simulator.ts';

export type Line = Record<string, unknown>;
export type ResultLine = {
  id: string;
  custom_id: string;
  response: { status_code: number; request_id: string; body: Record<string, unknown> } | null;
  error: { code: string; message: string } | null;
};

/** A simulator that is closed with the test, and the unmodified SDK that talks to it. */
export async function start(options?: SimulatorOptions): Promise<{ simulator: Simulator; openai: OpenAI }> {
  const simulator = await startSimulator(options);
  onTestFinished(() => simulator.close());
  return { simulator, openai: clientFor(simulator) };
}

/** The same with faults, written as the command takes them. */
export async function startWith(...rules: string[]): Promise<{ simulator: Simulator; openai: OpenAI }> {
  return start({ faults: createFaults(rules.map(parseFault)) });
}

export function clientFor(simulator: Simulator): OpenAI {
  return new OpenAI({ apiKey: 'any', baseURL: simulator.url, maxRetries: 0 });
}

export function chatLine(customId: string, prompt: string, schema?: unknown, body: Line = {}): Line {
  const format = { type: 'json_schema', json_schema: { name: 'answer', schema } };
  const messages = [{ role: 'user', content: prompt }];
  const rest = { ...(schema ? { response_format: format } : {}), ...body };
  const url = '/v1/chat/completions';
  return { custom_id: customId, method: 'POST', url, body: { model: 'gpt-4o-mini', messages, ...rest } };
}

export function responsesLine(customId: string, prompt: string, schema?: unknown): Line {
  const text = schema ? { text: { format: { type: 'json_schema', name: 'answer', schema } } } : {};
  const url = '/v1/responses';
  return { custom_id: customId, method: 'POST', url, body: { model: 'gpt-4o-mini', input: prompt, ...text } };
}

export function jsonl(lines: (Line | string)[]): string {
  return lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join('');
}

export async function upload(openai: OpenAI, content: string, filename = 'input.jsonl'): Promise<string> {
  const file = await toFile(Buffer.from(content), filename, { type: 'application/jsonl' });
  return (await openai.files.create({ file, purpose: 'batch' })).id;
}

export async function submit(
  openai: OpenAI,
  lines: (Line | string)[],
  endpoint: '/v1/chat/completions' | '/v1/responses' = '/v1/chat/completions',
): Promise<OpenAI.Batch> {
  const inputFileId = await upload(openai, jsonl(lines));
  return openai.batches.create({ input_file_id: inputFileId, endpoint, completion_window: '24h' });
}

/** The same for a pipeline, as a worker names it. */
export async function submitFor(
  openai: OpenAI,
  pipeline: string,
  lines: (Line | string)[],
): Promise<OpenAI.Batch> {
  return openai.batches.create({
    input_file_id: await upload(openai, jsonl(lines)),
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
    metadata: { rowmill_pipeline: pipeline },
  });
}

/** A batch that has ended, as it is and not as it is shown. */
export async function ended(simulator: Simulator, id: string): Promise<BatchObject> {
  for (;;) {
    const batch = simulator.batches().find((each) => each.id === id)!;
    if (hasEnded(batch)) return batch;
    await wait(5);
  }
}

/** A plain GET, of which nothing is read yet; what is not read is let go of with the test. */
export async function get(simulator: Simulator, path: string, init: RequestInit = {}): Promise<Response> {
  const abort = new AbortController();
  onTestFinished(() => abort.abort());
  const headers = { authorization: 'Bearer k' };
  return await fetch(`${simulator.url}${path}`, {
    headers,
    signal: abort.signal,
    redirect: 'manual',
    ...init,
  });
}

/** Reads up to so many bytes; calls for each piece; returns how many came, and whether that was all. */
export async function read(
  response: Response,
  most: number,
  see: (piece: Uint8Array) => void = () => {},
): Promise<{ bytes: number; isWhole: boolean }> {
  let bytes = 0;
  for await (const piece of response.body!) {
    see(piece);
    bytes += piece.length;
    if (bytes >= most) return { bytes, isWhole: false };
  }
  return { bytes, isWhole: true };
}

export async function until(
  openai: OpenAI,
  id: string,
  isReached: (batch: OpenAI.Batch) => boolean = ({ status }) =>
    ['completed', 'failed', 'cancelled', 'expired'].includes(status),
): Promise<OpenAI.Batch> {
  for (;;) {
    const batch = await openai.batches.retrieve(id);
    if (isReached(batch)) return batch;
    await wait(5);
  }
}

export async function runBatch(
  openai: OpenAI,
  lines: (Line | string)[],
  endpoint?: '/v1/chat/completions' | '/v1/responses',
): Promise<OpenAI.Batch> {
  return until(openai, (await submit(openai, lines, endpoint)).id);
}

export async function readResults(openai: OpenAI, fileId: string | null | undefined): Promise<ResultLine[]> {
  if (!fileId) return [];
  const text = await (await openai.files.content(fileId)).text();
  // On \n alone, as readers of these files must.
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as ResultLine);
}

/** The model's own text in a result of either endpoint. */
export function contentOf(result: ResultLine): string {
  const body = result.response!.body as {
    choices?: { message: { content: string } }[];
    output?: { content: { text: string }[] }[];
  };
  return body.choices?.[0]?.message.content ?? body.output![0]!.content[0]!.text;
}
