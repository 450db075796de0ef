import { countTokens } from 'gpt-tokenizer/encoding/o200k_base';
import { describe, expect, test } from 'vitest';
import { readFilms, someFilms } from '../../examples/demo/films.ts';
import type { PipelineDefinition } from '../../src/pipeline/pipeline.ts';
import { compilePrompt } from '../../src/pipeline/prompt.ts';
import { compileTokenEstimate } from '../../src/pipeline/tokens.ts';
import { dataSets, fiveLanguages, languages, randomNumbers } from '../support/five-languages.ts';
import { filmSchema, hostileTexts, makeDefinition } from './factories.ts';

/** The tokenizer over a whole text at once, names of special tokens being text. */
const o200k = (text: string) => countTokens(text, { disallowedSpecial: new Set() });

/** Nothing but the prompt, so that what all requests share hides no error. */
const bare = makeDefinition({ instructions: null, format: 'text', response_schema_text: null });
const framing = 3 + 1 + 3;

function estimate(prompts: Iterable<string>, definition: PipelineDefinition = bare): number {
  const running = compileTokenEstimate(definition).start();
  for (const prompt of prompts) running.add(prompt);
  return running.total();
}

function* chunksOf<T>(rows: T[], size: number): Generator<T[]> {
  for (let from = 0; from + size <= rows.length; from += size) yield rows.slice(from, from + size);
}

/** The largest error over all chunks of the sizes, as a share of the exact count. */
function largestError(prompts: string[], ...chunkSizes: number[]): number {
  const { count } = compileTokenEstimate(bare);
  const rows = prompts.map((prompt) => ({ prompt, tokens: count(prompt) }));
  let largest = 0;
  for (const chunk of chunkSizes.flatMap((size) => [...chunksOf(rows, size)])) {
    const exact = chunk.reduce((sum, row) => sum + row.tokens, 0);
    largest = Math.max(largest, Math.abs(estimate(chunk.map((row) => row.prompt)) / exact - 1));
  }
  return largest;
}

describe('an estimate is within 3 % of the exact count', () => {
  const render = compilePrompt(bare.prompt, bare.inputs);
  const films = [...someFilms(readFilms(), 3000)].map(render);

  test('for every chunk of 100, 559 and 1,000 films', () => {
    expect(largestError(films, 100, 559, 1000)).toBeLessThan(0.03);
  });

  test.each(dataSets)('for every chunk of 100, 559 and 1,000 rows in five languages: %s', (dataSet) => {
    expect(largestError(fiveLanguages(dataSet, 3000), 100, 559, 1000)).toBeLessThan(0.03);
  });

  test('where half of the rows are base64', () => {
    const random = randomNumbers(7);
    const rows = fiveLanguages('english', 1000).map((text, n) =>
      n % 2 === 0
        ? text
        : Buffer.from(Array.from({ length: 700 }, () => Math.floor(random() * 256))).toString('base64'),
    );
    expect(largestError(rows, 1000)).toBeLessThan(0.03);
  });

  test('for rows of a few bytes', () => {
    const rows = Array.from({ length: 20_000 }, (_, n) => `Colour no. ${n % 977}`);
    expect(largestError(rows, 20_000)).toBeLessThan(0.03);
  });

  test('for one huge row', () => {
    expect(largestError([fiveLanguages('within a row', 950).join('\n')], 1)).toBeLessThan(0.03);
  });

  test('for a huge row that goes on in another language than it begins in', () => {
    const parts = [fiveLanguages('english', 10), fiveLanguages('chinese', 200), fiveLanguages('arabic', 200)];
    expect(largestError([parts.flat().join(' ')], 1)).toBeLessThan(0.03);
  });

  test('for a huge row among small ones of another language', () => {
    const rows = [...fiveLanguages('german', 300), fiveLanguages('chinese', 600).join('')];
    expect(largestError(rows, rows.length)).toBeLessThan(0.03);
  });

  test('for a letter repeated a million times', () => {
    expect(Math.abs(estimate(['a'.repeat(1_000_000)]) / (framing + 125_000) - 1)).toBeLessThan(0.03);
  });
});

describe('a count', () => {
  const { count } = compileTokenEstimate(bare);

  test('is what the tokenizer counts, with the framing of one message', () => {
    expect(count('hello world')).toBe(framing + 2);
    for (const language of languages) {
      const text = fiveLanguages(language, 20).join('\n');
      expect(count(text)).toBe(framing + o200k(text));
    }
  });

  test.each(Object.entries(hostileTexts))('takes any text: %s', (_what, text) => {
    expect(count(text)).toBe(framing + o200k(text));
  });

  test('takes the name of a special token for text', () => {
    expect(count('<|endoftext|>')).toBe(framing + 7);
    expect(count('a <|endoftext|> b')).toBe(framing + 9);
  });

  test('never cuts a character', () => {
    const zombies = '\u{1f9df}'.repeat(1000);
    expect(Math.abs(count(zombies) - o200k(zombies))).toBeLessThan(0.01 * o200k(zombies));
  });
});

describe('what all requests share', () => {
  test('is the instructions, the schema, and the framing of two messages', () => {
    const instructions = 'Summarise the film.';
    const { perRequest } = compileTokenEstimate(makeDefinition({ instructions }));
    expect(perRequest).toBe(3 + 1 + 3 + 1 + 3 + o200k(instructions) + o200k(filmSchema));
  });

  test('has no schema where the answer is plain text', () => {
    expect(compileTokenEstimate(makeDefinition({ instructions: null, format: 'text' })).perRequest).toBe(
      framing,
    );
  });

  test('counts once for each request', () => {
    const definition = makeDefinition();
    const { perRequest } = compileTokenEstimate(definition);
    expect(estimate([], definition)).toBe(0);
    expect(estimate(['', '', ''], definition)).toBe(3 * perRequest);
  });
});

describe('a running estimate', () => {
  test('of few rows is exact', () => {
    const { count } = compileTokenEstimate(bare);
    const rows = [...fiveLanguages('alternating', 10), '', ...Object.values(hostileTexts)].filter(
      (row) => row.length < 5000,
    );
    expect(estimate(rows)).toBe(rows.reduce((sum, row) => sum + count(row), 0));
  });

  test('is the same for the same rows, and asking in between changes nothing', () => {
    const rows = fiveLanguages('runs', 1000);
    const asked = compileTokenEstimate(bare).start();
    for (const [n, row] of rows.entries()) {
      asked.add(row);
      if (n % 100 === 0) asked.total();
    }
    expect(asked.total()).toBe(estimate(rows));
    expect(estimate(rows)).toBe(estimate(rows));
  });

  test('does not raise for text that is not well-formed', () => {
    expect(estimate(['\ud83e alone \udddf'])).toBeGreaterThan(framing);
  });

  test.each([
    ['1,000 rows of 1 KB', fiveLanguages('alternating', 1000)],
    ['50,000 rows', Array.from({ length: 50_000 }, (_, n) => `Row ${n}: ${'some words '.repeat(n % 40)}`)],
    ['a row of 1 MB', ['word '.repeat(200_000)]],
    ['a letter repeated', ['a'.repeat(1_000_000)]],
    ['a character of four bytes repeated', ['\u{1f9df}'.repeat(250_000)]],
  ])('hands the tokenizer at most 30 KB, in pieces of 256 bytes at most: %s', (_what, rows) => {
    const sizes: number[] = [];
    const running = compileTokenEstimate(bare, (text) => {
      sizes.push(Buffer.byteLength(text));
      return 1;
    }).start();
    for (const row of rows) running.add(row);
    expect(sizes).toEqual([]); // The tokenizer is not even loaded before a number is asked for.
    running.total();
    expect(Math.max(...sizes)).toBeLessThanOrEqual(256);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(30_000);
  });
});
