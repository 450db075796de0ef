import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import OpenAI from 'openai';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Simulator } from '../../src/simulator/simulator.ts';
import { chatLine, ended, get, read, runBatch, startWith, submitFor } from './harness.ts';

const lines = Array.from({ length: 3 }, (_, i) => chatLine(`c-${i}`, `Row ${i} of a table`));
const megabyte = 1_048_576;

/** What the two batches' downloads send: of a pipeline that is struck, and of one that is not. */
async function downloadsOf(rule: string) {
  const { simulator, openai } = await startWith(`${rule};pipeline=hostile`);
  const content = async (pipeline: string) => {
    const { id } = await submitFor(openai, pipeline, lines);
    return `/files/${(await ended(simulator, id)).output_file_id}`;
  };
  const [struck, healthy] = [await content('hostile'), await content('healthy')];
  const proper = await (await get(simulator, `${healthy}/content`)).text();
  expect(proper.trimEnd().split('\n')).toHaveLength(3);
  return { simulator, struck, proper, bytes: await bytesOf(simulator, struck) };
}

async function bytesOf(simulator: Simulator, file: string): Promise<number> {
  return ((await (await get(simulator, file)).json()) as { bytes: number }).bytes;
}

/** Answers' ids differ from batch to batch. */
const namesIn = (text: string) =>
  [...text.matchAll(/"custom_id":"(c-\d)"/g)].map(([, name]) => name).toSorted();

describe('a hostile result file', () => {
  it('drips, and does not end where the file does', async () => {
    const { simulator, struck, bytes } = await downloadsOf('download_drips;ms=1');
    expect(bytes).toBe(0);
    const response = await get(simulator, `${struck}/content`);
    expect(response.status).toBe(200);
    let pieces = 0;
    expect((await read(response, 300, () => pieces++)).isWhole).toBe(false);
    expect(pieces).toBeGreaterThan(30);
  });

  it.each([
    ['download_long_line;mb=3', 'x'],
    ['download_nested;mb=3', '['],
  ])('begins with a line of megabytes: %s', async (rule, character) => {
    const { simulator, struck, bytes } = await downloadsOf(rule);
    expect(bytes).toBe(0);
    const text = await (await get(simulator, `${struck}/content`)).text();
    const [long, ...rest] = text.split('\n');
    expect(long).toBe(character.repeat(3 * megabyte));
    expect(namesIn(rest.join('\n'))).toEqual(['c-0', 'c-1', 'c-2']);
  });

  it('is small on the way and large when it is unpacked', async () => {
    const { simulator, struck, bytes } = await downloadsOf('download_bomb;mb=20');
    expect(bytes).toBe(0);
    const response = await get(simulator, `${struck}/content`);
    expect(response.headers.get('content-encoding')).toBe('gzip');
    const text = await response.text();
    expect(text.startsWith('\n'.repeat(20 * megabyte))).toBe(true);
    expect(namesIn(text)).toEqual(['c-0', 'c-1', 'c-2']);
  });

  it.each([
    ['download_blanks', /^\n+$/],
    ['download_foreign', /"custom_id":"c1000000007-7-0000000000000007"/],
  ])('goes on without end: %s', async (rule, more) => {
    const { simulator, struck, proper, bytes } = await downloadsOf(rule);
    expect(bytes).toBe(0);
    const response = await get(simulator, `${struck}/content`);
    let text = '';
    const seen = await read(response, 20 * megabyte, (piece) => {
      if (text.length < 200_000) text += Buffer.from(piece).toString();
    });
    expect(seen.isWhole).toBe(false);
    expect(namesIn(text.slice(0, proper.length))).toEqual(['c-0', 'c-1', 'c-2']);
    expect(text.slice(proper.length)).toMatch(more);
  });

  it('has bytes in its answers that are not UTF-8', async () => {
    const { simulator, struck, bytes } = await downloadsOf('download_not_utf8');
    const content = Buffer.from(await (await get(simulator, `${struck}/content`)).arrayBuffer());
    expect(content.length).toBe(bytes);
    expect(content.filter((byte) => byte === 0xff)).toHaveLength(3);
    for (const line of content.toString('latin1').trimEnd().split('\n'))
      expect(JSON.parse(line)).toMatchObject({
        response: { body: { choices: [{ message: { content: expect.stringContaining('\u00ff') } }] } },
      });
  });

  it('is somewhere else', async () => {
    const { simulator, struck } = await downloadsOf('download_redirect;to=http://127.0.0.1:9/x');
    const response = await get(simulator, `${struck}/content`);
    expect(response.status).toBe(302);
    expect(response.headers.get('location')).toBe('http://127.0.0.1:9/x');
  });
});

it('hostile answers of gigabytes take little memory of the simulator', { timeout: 60_000 }, async () => {
  const main = fileURLToPath(new URL('../../src/simulator/main.ts', import.meta.url));
  const names = ['download_long_line', 'download_bomb', 'download_blanks', 'retrieve_bomb', 'retrieve_huge'];
  const flags = names.flatMap((name) => ['--fault', `${name};pipeline=${name}`]);
  const child = fork(main, ['--port', '0', ...flags], { execArgv: [], stdio: 'ignore' });
  onTestFinished(() => void child.kill('SIGKILL'));
  const [{ url }] = (await once(child, 'message')) as [{ url: string }];
  const openai = new OpenAI({ apiKey: 'any', baseURL: url, maxRetries: 0 });
  await runBatch(openai, lines);
  const simulator = { url } as Simulator;
  const peak = async () => {
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => 'VmHWM: 0');
    return Number(/VmHWM:\s*(\d+)/.exec(status)![1]) / 1024;
  };
  const before = await peak();
  for (const name of names) {
    const { id } = await submitFor(openai, name, lines);
    const batches = async () => (await openai.batches.list()).data;
    await expect.poll(async () => (await batches())[0]!.status).toBe('completed');
    const file = (await batches())[0]!.output_file_id;
    const path = name.startsWith('retrieve') ? `/batches/${id}` : `/files/${file}/content`;
    // Several at once, one of which is read slowly: not at all.
    await get(simulator, path);
    await Promise.all([1, 2].map(async () => await read(await get(simulator, path), 300 * megabyte)));
  }
  expect((await peak()) - before).toBeLessThan(150);
});
