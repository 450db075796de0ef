import { boundsProblem } from './json-bounds.ts';

/**
 * A parsed JSON document. `plain` is for checking and looking into; `exact` is for handing on as JSON text:
 * the same, except that numbers which JavaScript would round are `JSON.rawJSON` objects.
 */
export type ParsedDocument =
  | { ok: true; plain: unknown; exact: unknown }
  /** `not_json`: no document at all. `not_storable`: one that Postgres would refuse. */
  | { ok: false; reason: 'not_json' | 'not_storable'; code: string | null; message: string };

/** Postgres and JSON.stringify both recurse; an answer nested deeper than this is nonsense anyway. */
const maxDepth = 512;
/** Digits and exponent together: numeric ends at 16,383 digits after the point. */
const maxNumberSize = 16_000;

const suspectEscape = /\\u(?:0000|[dD][89a-fA-F])/;
// Up to 15 digits and two-digit exponents survive a double; whatever may not is parsed with its source text.
const suspectNumber = /[\d.]{16}|[eE][+-]?\d{3}/;

/** Takes JSON text; returns the document, or what is wrong with it. Never raises. */
export function parseDocument(text: string): ParsedDocument {
  const outOfBounds = boundsProblem(text);
  if (outOfBounds !== null) return { ok: false, reason: 'not_storable', ...outOfBounds };
  let plain: unknown;
  try {
    plain = JSON.parse(text);
  } catch (error) {
    return { ok: false, reason: 'not_json', code: null, message: (error as Error).message };
  }
  // What a document of this text cannot hold need not be looked for: nearly every answer stops here.
  if (text.length > 2 * maxDepth || suspectEscape.test(text) || !text.isWellFormed()) {
    const problem = storageProblem(plain);
    if (problem !== null) return notStorable(problem);
  }
  if (!suspectNumber.test(text)) return { ok: true, plain, exact: plain };
  return parseExactly(text, plain);
}

/** Takes a value; returns in words what in it Postgres cannot store, or null. */
export function storageProblem(value: unknown, depth = 0): string | null {
  if (typeof value === 'string') return stringProblem(value);
  if (typeof value !== 'object' || value === null) return null;
  if (depth === maxDepth) return `nested deeper than ${maxDepth} levels`;
  for (const [key, item] of Object.entries(value)) {
    const keyProblem = stringProblem(key);
    if (keyProblem !== null) return `a key of an object ${keyProblem}`;
    const problem = storageProblem(item, depth + 1);
    if (problem !== null) return problem;
  }
  return null;
}

function notStorable(message: string): ParsedDocument {
  return { ok: false, reason: 'not_storable', code: null, message };
}

function stringProblem(text: string): string | null {
  if (text.includes('\0')) return 'holds the character U+0000';
  if (!text.isWellFormed()) return 'holds a lone UTF-16 surrogate';
  return null;
}

// Node has both; TypeScript's libraries do not yet.
const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };
type SourceReviver = (key: string, value: unknown, context: { source: string }) => unknown;

function parseExactly(text: string, plain: unknown): ParsedDocument {
  let isTooLarge = false;
  const keepSource: SourceReviver = (_key, value, context) => {
    if (typeof value !== 'number' || String(value) === context.source) return value;
    isTooLarge ||= numberSize(context.source) > maxNumberSize;
    return rawJSON(context.source);
  };
  const exact: unknown = JSON.parse(text, keepSource as (key: string, value: unknown) => unknown);
  return isTooLarge ? notStorable('holds a number beyond the range of numeric') : { ok: true, plain, exact };
}

function numberSize(source: string): number {
  const exponentAt = source.search(/[eE]/);
  return exponentAt === -1 ? source.length : exponentAt + Math.abs(Number(source.slice(exponentAt + 1)));
}
