import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readSlice } from '../../src/jobs/read-slice.ts';
import { compileOutcome, type LineOutcome } from '../../src/pipeline/outcome.ts';
import { type Line, splitLines } from '../../src/pipeline/split-lines.ts';
import { chatBody, errorLine, makeDefinition, outputLine, responsesBody } from './factories.ts';

/** So many files of so many lines take a few seconds; FUZZ_FILES=1000 reads 100,000 lines. */
const files = Number(process.env.FUZZ_FILES ?? 300);
const linesPerFile = 100;

const film = JSON.stringify({ summary: 'A thief \u{1f9df}.', categories: ['Crime', 'Drama'] });
const part = { type: 'output_text', text: film, annotations: [] };
const error = { code: 'server_error', message: 'x', type: 'server_error' };
const templates = [
  outputLine(chatBody(film)),
  outputLine(chatBody([{ type: 'text', text: film }])),
  outputLine(chatBody(null, { message: { content: null, refusal: 'I cannot.' } })),
  outputLine(chatBody(film, { finish_reason: 'length' })),
  outputLine(responsesBody([part, part])),
  outputLine(
    responsesBody([part], { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } }),
  ),
  outputLine(responsesBody([], { status: 'failed', error })),
  outputLine({ error }, 429, error),
  errorLine(error),
  errorLine('it broke'),
];

const nested = (levels: number) => JSON.parse(`${'['.repeat(levels)}${']'.repeat(levels)}`) as unknown;
const members =
  '{"toString":1,"valueOf":1,"toJSON":1,"__proto__":{"x":1},"constructor":null,"length":-1,"then":1}';
/** What may stand in the place of any value. */
const intruders: unknown[] = [
  ...[null, true, '', '0', -1, 0.5, 1e308, 9e18, 2 ** 53, [], {}, [[]], [null], ['server_error'], [500]],
  ...[
    'a\0b',
    '\ud83d',
    '\udc00x',
    '\u{1f9df}',
    '\ufffd',
    '\u2028',
    '__proto__',
    'constructor',
    'x'.repeat(3_000),
  ],
  ...[
    nested(2_000),
    { a: nested(600) },
    { text: 1, refusal: {} },
    { code: { code: 1 } },
    Array(300).fill({}),
  ],
  ...['{"summary":"\\u0000","categories":[]}', `{"summary":"x","categories":${'['.repeat(5_000)}`],
  ...['{"summary":1e400,"categories":[]}', '{"__proto__":1,"summary":"\\ud800","categories":["x"]}'],
  JSON.parse(members),
];

type Place = { holder: Record<string, unknown>; key: string };

function placesIn(value: unknown, found: Place[] = []): Place[] {
  if (typeof value !== 'object' || value === null) return found;
  const holder = value as Record<string, unknown>;
  for (const key of Object.keys(holder)) {
    found.push({ holder, key });
    placesIn(holder[key], found);
  }
  return found;
}

/** Replaces, drops or doubles one member of the line, wherever it stands. */
function swapped(line: string, at: number, what: number): string {
  const root = { line: JSON.parse(line) as unknown };
  const places = placesIn(root);
  const { holder, key } = places[at % places.length]!;
  const kind = what % (intruders.length + 2);
  if (kind === intruders.length) delete holder[key];
  else if (kind === intruders.length + 1) holder[`${key}_`] = holder[key];
  else holder[key] = intruders[kind];
  return JSON.stringify(root.line ?? null);
}

/** Changes the bytes of a line: one flipped, cut off, doubled, or others put in. */
function garbled(bytes: Buffer, at: number, what: number): Buffer {
  const place = at % (bytes.length + 1);
  const inserts = [
    '\0',
    '\\u0000',
    '\\ud800',
    '\ufeff',
    '"',
    '\\',
    '[[[[',
    '}',
    '1e999',
    '\r',
    '9'.repeat(400),
  ];
  const kind = what % (inserts.length + 4);
  if (kind === 0) return bytes.subarray(0, place);
  if (kind === 1)
    return Buffer.concat([bytes.subarray(0, place), Buffer.from([what & 0xff]), bytes.subarray(place + 1)]);
  if (kind === 2) return Buffer.concat([bytes, bytes.subarray(place)]);
  if (kind === 3) return Buffer.concat([bytes.subarray(0, place), bytes.subarray(place + (what % 50))]);
  return Buffer.concat([bytes.subarray(0, place), Buffer.from(inserts[kind - 4]!), bytes.subarray(place)]);
}

type Mutation = { template: number; swaps: number[]; bytes: number[] };
const number = fc.nat({ max: 1_000_000 });
const mutations = fc.array(
  fc.record({
    template: fc.nat({ max: templates.length - 1 }),
    swaps: fc.array(number, { maxLength: 4 }),
    bytes: fc.array(number, { maxLength: 3 }),
  }),
  { minLength: linesPerFile, maxLength: linesPerFile },
);

function mutated({ template, swaps, bytes }: Mutation, n: number): Buffer {
  let line = templates[template]!.replace('c42-7-', `c42-${n % 80}-`);
  for (const swap of swaps) line = swapped(line, swap, Math.trunc(swap / 1_000));
  let found: Buffer = Buffer.from(line);
  for (const byte of bytes) found = garbled(found, byte, Math.trunc(byte / 1_000));
  return found;
}

const newline = Buffer.from('\n');

async function linesOf(file: Mutation[]): Promise<Line[]> {
  const bytes = Buffer.concat(file.flatMap((mutation, n) => [mutated(mutation, n), newline]));
  const lines: Line[] = [];
  const chunks = async function* () {
    for (let at = 0; at < bytes.length; at += 10_000) yield bytes.subarray(at, at + 10_000);
  };
  for await (const some of splitLines(chunks(), { maxLineBytes: 6_000 })) lines.push(...some);
  return lines;
}

function expectStorable(text: string, most: number): void {
  if (text.length > most || text.includes('\0') || !text.isWellFormed()) {
    throw new Error(`not storable: ${JSON.stringify(text.slice(0, 2 * most))}`);
  }
}

function expectSound(outcome: LineOutcome): void {
  if (outcome.customId !== null && outcome.customId.length > 100) throw new Error('an id is kept');
  for (const count of Object.values(outcome.usage ?? {})) {
    if (!Number.isSafeInteger(count) || count < 0 || count > 1e15) throw new Error(`a count is ${count}`);
  }
  if (outcome.ok) return;
  expectStorable(outcome.message, 500);
  expectStorable(outcome.code ?? '', 100);
}

/** No text within holds what no text of Postgres can, and JSON.stringify comes to its end. */
function expectStorableJson(value: unknown): void {
  const json = JSON.stringify(value);
  if (/(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/.test(json))
    throw new Error(`not storable: ${json.slice(0, 1_000)}`);
}

test('mutated lines raise nothing, and leave nothing that Postgres could not store', async () => {
  const definition = makeDefinition();
  const texts = makeDefinition({ format: 'text', response_schema_text: null });
  const readers = [definition, texts].map((given) => ({
    definition: given,
    readOutcome: compileOutcome(given),
  }));
  const told = { lines: 0, answers: 0, failures: 0, unknown: 0 };
  const codes = new Set<string | null>();
  const reading = fc.asyncProperty(mutations, fc.nat({ max: 1 }), async (file, format) => {
    const lines = await linesOf(file);
    const reader = readers[format]!;
    for (const { text, problem } of lines) if (problem === undefined) expectSound(reader.readOutcome(text));
    const slice = await readSlice(reader, 'output', lines, 0);
    expectStorableJson(slice);
    told.lines += lines.length;
    told.answers += slice.answers.length;
    told.failures += slice.failures.length;
    told.unknown += slice.unknown_lines;
    for (const failure of slice.failures) codes.add(failure.code);
  });
  await fc.assert(reading, { numRuns: files, endOnFailure: true });
  // It read something: most mutations leave a line whose row can be told.
  expect(told.lines).toBeGreaterThan(files * linesPerFile * 0.9);
  expect(told.answers).toBeGreaterThan(files);
  expect(told.failures).toBeGreaterThan(10 * files);
  expect(told.unknown).toBeGreaterThan(files);
  // What is for the day when a reader raises has no line here.
  expect(codes).not.toContain('unreadable_line');
  expect(codes).toContain('line_too_long');
  expect(codes).toContain('not_utf8');
});
