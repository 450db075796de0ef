import { describe, expect, it } from 'vitest';
import { readSlice } from '../../src/jobs/read-slice.ts';
import { compileOutcome, type ReadOutcome } from '../../src/pipeline/outcome.ts';
import type { Line } from '../../src/pipeline/split-lines.ts';
import { chatBody, hash, makeDefinition, outputLine } from '../pipeline/factories.ts';

const branch = { type: 'object', required: ['a'], properties: { a: { $ref: '#/$defs/node' } } };
/** Takes twice as long for each level of an answer that does not fit. */
const exponential = makeDefinition({
  response_schema_text: JSON.stringify({
    type: 'object',
    properties: { summary: { $ref: '#/$defs/node' } },
    $defs: { node: { anyOf: [branch, branch, { type: 'string' }] } },
  }),
});
const definition = makeDefinition();
const good = outputLine(chatBody('{"summary":"x","categories":[]}'));
const slow = outputLine(chatBody(`{"summary":${'{"a":'.repeat(26)}1${'}'.repeat(26)}}`));

const lineOf = (text: string, n: number, problem?: Line['problem']): Line => ({
  text: text.replace('c42-7-', `c42-${n}-`),
  end: n + 1,
  ...(problem === undefined ? {} : { problem }),
});
const reader = (given: typeof definition) => ({ definition: given, readOutcome: compileOutcome(given) });

describe('readSlice', () => {
  it('sorts the lines, and sums up what they used', async () => {
    const lines = [
      lineOf(good, 0),
      lineOf(good, 0),
      lineOf(good, 4_294_967_295),
      lineOf('nothing', 0),
      lineOf(outputLine(chatBody('no JSON')), 1),
      lineOf(outputLine(chatBody('{"summary":null,"categories":["b"]}')), 2),
    ];
    expect(await readSlice(reader(definition), 'output', lines, 7)).toEqual({
      file: 'output',
      from_position: 7,
      to_position: 3,
      answers: [
        { c: 42, n: 0, h: hash, o0: 'x', o1: [] },
        { c: 42, n: 2, h: hash, o0: null, o1: ['b'] },
      ],
      failures: [expect.objectContaining({ c: 42, n: 1, h: hash, class: 'invalid_json' })],
      unknown_lines: 2,
      repeated_lines: 1,
      input_tokens: 500,
      cached_tokens: 320,
      output_tokens: 100,
      billed_requests: 5,
    });
  });

  it('keeps sums within what Postgres adds up', async () => {
    const absurd = good.replace('"prompt_tokens":100', '"prompt_tokens":9e307');
    const lines = Array.from({ length: 100 }, (_, n) => lineOf(absurd, n));
    expect(await readSlice(reader(definition), 'output', lines, 0)).toMatchObject({ input_tokens: 1e15 });
  });

  it.each([
    ['too_long', 'line_too_long'],
    ['not_utf8', 'not_utf8'],
  ] as const)('fails the row of a line that is %s, where it can be told', async (problem, code) => {
    const beginning = `{"id": "batch_req_1", "custom_id": "c42-7-${hash}", "response": {"bo`;
    const lines = [
      lineOf(good, 0),
      lineOf(beginning, 1, problem),
      lineOf('{"response":', 2, problem),
      lineOf(`{"id":"\\"custom_id\\":\\"c42-3-${hash}\\"`, 3, problem),
      lineOf(good, 4),
    ];
    const slice = await readSlice(reader(definition), 'output', lines, 0);
    expect(slice.answers.map(({ n }) => n)).toEqual([0, 4]);
    expect(slice.failures).toMatchObject([{ c: 42, n: 1, h: hash, class: 'invalid_json', code }]);
    expect(slice.unknown_lines).toBe(2);
  });

  it('fails the row of a line whose reader raises', async () => {
    const readOutcome: ReadOutcome = Object.assign(
      (text: string) => {
        if (text.includes('c42-1-')) throw { toString: 1 };
        return compileOutcome(definition)(text);
      },
      { weight: 1 },
    );
    const lines = [lineOf(good, 0), lineOf(good, 1), lineOf(good, 2)];
    const slice = await readSlice({ definition, readOutcome }, 'output', lines, 0);
    expect(slice.answers.map(({ n }) => n)).toEqual([0, 2]);
    expect(slice.failures).toMatchObject([{ n: 1, class: 'unknown', code: 'unreadable_line' }]);
  });

  it('fails the rows whose answers take too long to check, and reads all others', async () => {
    const isSlow = (n: number) => n === 0 || n % 300 === 299;
    const lines = Array.from({ length: 1_000 }, (_, n) => lineOf(isSlow(n) ? slow : good, n));
    let turns = 0;
    const watch = setInterval(() => (turns += 1), 1);
    const slice = await readSlice(reader(exponential), 'output', lines, 0);
    clearInterval(watch);
    expect(slice.failures).toMatchObject(
      [0, 299, 599, 899].map((n) => ({ n, class: 'schema_mismatch', code: 'check_too_slow' })),
    );
    expect(slice.failures[0]!.message).toContain('output_schema');
    expect(slice.answers).toHaveLength(996);
    // The event loop had its turns in between.
    expect(turns).toBeGreaterThan(3);
  });

  it('ends with an error where there are too many such rows', async () => {
    const lines = Array.from({ length: 1_000 }, (_, n) => lineOf(slow, n));
    await expect(readSlice(reader(exponential), 'output', lines, 0)).rejects.toMatchObject({
      code: 'answers_too_slow',
      message: expect.stringContaining('"movies"'),
    });
  });

  it('stops between its turns when the signal says so', async () => {
    const stop = new AbortController();
    setImmediate(() => stop.abort(new Error('the service stops')));
    const lines = [lineOf(slow, 0), lineOf(good, 1)];
    await expect(readSlice(reader(exponential), 'output', lines, 0, stop.signal)).rejects.toThrow('stops');
  });
});
