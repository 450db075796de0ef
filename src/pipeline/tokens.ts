import { createRequire } from 'node:module';
import type { PipelineDefinition } from './pipeline.ts';
import { weigh } from './token-weights.ts';

export type TokenEstimate = {
  /** Takes the prompt of the next request. Most of them are only looked through, not tokenised. */
  add(prompt: string): void;
  /** Tokens of all requests added so far, rounded up. */
  total(): number;
};

/** Counts the tokens of a text, whatever it says: a special token's name is text like any other. */
export type CountTokens = (text: string) => number;

/**
 * Takes a pipeline; returns what estimates the input tokens of its requests, with o200k as the encoding of
 * every model. The same prompts in the same order get the same estimate, in every process.
 *
 * The tokenizer (a fifth of a second, 53 MB) is loaded by `loadTokenizer` or by the first count, never by compiling.
 */
export function compileTokenEstimate(definition: PipelineDefinition, countTokens: CountTokens = countO200k) {
  let shared: number | undefined;
  const perRequest = () => {
    shared ??= countShared(definition, countTokens);
    return shared;
  };
  return {
    /** Tokens of what all requests share: instructions, schema, and the framing of messages. */
    get perRequest(): number {
      return perRequest();
    },
    /** The tokens of one request. Exact, and too slow for all rows of a file. */
    count: (prompt: string): number => perRequest() + countAll(prompt, countTokens),
    /** An estimate of the requests of one file. */
    start: (): TokenEstimate => startEstimate(perRequest, countTokens),
  };
}

// As in OpenAI's cookbook, "How to count tokens with tiktoken": 3 for each message besides its role and its
// content, and 3 that prime the answer.
const tokensPerMessage = 3;
const tokensOfPriming = 3;

/** How providers count a schema is not documented: its text stands for it. */
function countShared(definition: PipelineDefinition, countTokens: CountTokens): number {
  const { instructions, format, response_schema_text: schema } = definition;
  let tokens = tokensOfPriming + tokensPerMessage + countTokens('user');
  if (instructions) {
    tokens += tokensPerMessage + countTokens('system') + countAll(instructions, countTokens);
  }
  if (format !== 'text' && schema) tokens += countAll(schema, countTokens);
  return tokens;
}

/** What prompts are cut into, about; the sample consists of such pieces. */
const pieceBytes = 192;
/** What is tokenised of a file at most; one of fewer pieces, 24 KB, is counted whole. */
const samplePieces = 128;

type Piece = { order: number; text: string; weight: number; tokens?: number };

/**
 * Every text has a weight: a guess of its tokens from the kinds of its characters, which takes two look-ups a
 * byte. The weight of all prompts is known, and a sample tells how many tokens there are to a weight. The weight
 * knows what makes tokens dense (script, digits, punctuation), so their ratio differs little between languages and
 * between kinds of text; extrapolated by bytes alone, the sample would have to be ten times as large.
 *
 * The sample is the pieces of the lowest random order: all have the same chance, however many come and in
 * whatever runs. It is tokenised when the total is asked for, so it costs a file of 50,000 rows no more than one
 * of 1,000.
 */
function startEstimate(perRequest: () => number, countTokens: CountTokens): TokenEstimate {
  let requests = 0;
  let weight = 0;
  let seen = 0;
  let sample: Piece[] = [];
  let highestOrder = 2 ** 32;

  const keepLowest = () => {
    if (sample.length <= samplePieces) return;
    sample = sample.sort((a, b) => a.order - b.order).slice(0, samplePieces);
    highestOrder = sample.at(-1)!.order;
  };

  return {
    add(prompt) {
      const { bytes, length } = encode(prompt);
      const pieces = Math.ceil(length / pieceBytes);
      requests += 1;
      weight += weigh(bytes, 0, length);
      for (let at = 0; at < pieces; at += 1) {
        const order = randomOrder(seen + at);
        if (order > highestOrder) continue;
        const from = findCut(bytes, length, at * pieceBytes);
        const to = findCut(bytes, length, (at + 1) * pieceBytes);
        if (to <= from) continue;
        sample.push({ order, text: bytes.toString('utf8', from, to), weight: weigh(bytes, from, to) });
        // Sorting now and then is cheaper than keeping order.
        if (sample.length >= 4 * samplePieces) keepLowest();
      }
      seen += pieces;
    },
    total() {
      keepLowest();
      let sampleTokens = 0;
      let sampleWeight = 0;
      for (const piece of sample) {
        piece.tokens ??= countTokens(piece.text);
        sampleTokens += piece.tokens;
        sampleWeight += piece.weight;
      }
      const tokens = sampleWeight === 0 ? 0 : (weight * sampleTokens) / sampleWeight;
      return Math.ceil(requests * perRequest() + tokens);
    },
  };
}

/** The n-th of a fixed sequence of random whole numbers below 2^32 (mulberry32). */
function randomOrder(n: number): number {
  const state = Math.imul(n + 1, 0x6d2b79f5);
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return (mixed ^ (mixed >>> 14)) >>> 0;
}

const scratch = Buffer.alloc(64 * 1024);

/** UTF-8, of a prompt of the usual size in a buffer that the next one overwrites. */
function encode(text: string): { bytes: Buffer; length: number } {
  if (text.length * 3 <= scratch.length) return { bytes: scratch, length: scratch.write(text) };
  const bytes = Buffer.from(text);
  return { bytes, length: bytes.length };
}

/** How far behind its place a cut is moved; that far a piece may be longer. */
const cutReach = 32;

/**
 * The place at `at`, or up to `reach` bytes behind it, where o200k begins a token in any case: at a space behind
 * something else, or at a Chinese comma or stop behind a character. Without one, `at` or the next whole character.
 * It depends on the text and `at` alone, so the pieces of a text neither overlap nor leave gaps.
 */
function findCut(bytes: Buffer, length: number, at: number, reach = cutReach): number {
  if (at <= 0) return 0;
  if (at >= length) return length;
  const end = Math.min(at + reach, length);
  for (let i = at; i < end; i += 1) {
    if (bytes[i] === 0x20 ? bytes[i - 1]! > 0x20 : isChineseStop(bytes, i)) return i;
  }
  let whole = at;
  while (whole < length && (bytes[whole]! & 0xc0) === 0x80) whole += 1;
  return whole;
}

function isChineseStop(bytes: Buffer, at: number): boolean {
  const [first, second, third] = [bytes[at], bytes[at + 1], bytes[at + 2]];
  const isStop =
    (first === 0xe3 && second === 0x80 && (third === 0x81 || third === 0x82)) ||
    (first === 0xef && second === 0xbc && third === 0x8c);
  return isStop && at >= 3 && bytes[at - 3]! >= 0xe4 && bytes[at - 3]! <= 0xe9;
}

/** The tokenizer takes the square of the time for what has no boundary, so it never gets more than twice this. */
const bytesAtOnce = 512;

function countAll(text: string, countTokens: CountTokens): number {
  if (text.length <= bytesAtOnce / 2) return countTokens(text);
  const bytes = Buffer.from(text);
  let tokens = 0;
  for (let from = 0, to = 0; from < bytes.length; from = to) {
    to = findCut(bytes, bytes.length, from + bytesAtOnce, bytesAtOnce);
    tokens += countTokens(bytes.toString('utf8', from, to));
  }
  return tokens;
}

const require = createRequire(import.meta.url);
type O200k = typeof import('gpt-tokenizer/encoding/o200k_base');
let o200k: O200k | undefined;

const nothingSpecial = { disallowedSpecial: new Set<string>() };

function countO200k(text: string): number {
  return loadTokenizer().countTokens(text, nothingSpecial);
}

/**
 * Loads the tokenizer, where it is not loaded yet. Nothing else runs meanwhile, which is a second and more on a busy
 * machine: whoever holds leases or keeps time loads it before.
 */
export function loadTokenizer(): O200k {
  if (o200k === undefined) {
    o200k = require('gpt-tokenizer/encoding/o200k_base') as O200k;
    // Words of several tokens, kept as they pass; its own default is 100,000.
    o200k.setMergeCacheSize(4000);
    o200k.countTokens('', nothingSpecial);
  }
  return o200k;
}
