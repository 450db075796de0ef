import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ProviderError } from '../../src/errors.ts';
import { toBatchPage, toFilePage, toProviderBatch } from '../../src/provider/openai-batch.ts';
import type { ProviderBatch } from '../../src/provider/provider.ts';
import { storableArgs } from '../../src/store/storable.ts';
import { makeWireBatch } from './fake-server.ts';

const deep = JSON.parse(`${'['.repeat(2000)}${']'.repeat(2000)}`);
const absurd: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(
    ...[
      1e308,
      9e18,
      1e300,
      Number.POSITIVE_INFINITY,
      -1,
      -0,
      0.5,
      Number.MIN_VALUE,
      2 ** 31,
      2 ** 53,
      '1',
      '',
      ' ',
      '..',
    ],
    ...['\0', '\ud800', '\udfff x', '\u202e', 'x'.repeat(6000), '\ud83d\ude00'.repeat(400)],
    ...[null, undefined, true, false, [], {}, deep, { toString: 1, valueOf: 1 }, [[], [{}]], { length: 1e9 }],
    ...[
      JSON.parse('{"__proto__": {"rowmill_key": "k"}}'),
      JSON.parse('{"constructor": 1, "hasOwnProperty": 2}'),
    ],
    { data: [{ code: { toString: 1 }, message: ['x'], line: '3' }, null, 7, { line: 1e300 }, { line: -1 }] },
    {
      data: Array.from({ length: 3000 }, (_, line) => ({
        code: 'c'.repeat(999),
        message: 'm'.repeat(9999),
        line,
      })),
    },
    { input_tokens: 1e308, output_tokens: '5', input_tokens_details: { cached_tokens: 9e18 } },
    { total: 1e300, completed: -5, failed: '7' },
    Object.fromEntries(Array.from({ length: 300 }, (_, at) => [`k${at}`, 'v'])),
    { rowmill_key: { toString: 1 }, other: 'x', long: 'y'.repeat(9999) },
  ),
  fc.jsonValue({ maxDepth: 3 }),
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.double(),
);

const members = Object.keys(makeWireBatch());
const mutated: fc.Arbitrary<unknown> = fc.oneof(
  {
    weight: 20,
    arbitrary: fc
      .array(fc.tuple(fc.constantFrom(...members), fc.option(absurd, { nil: undefined })), {
        minLength: 1,
        maxLength: 4,
      })
      .map((changes) => makeWireBatch(Object.fromEntries(changes))),
  },
  { weight: 1, arbitrary: absurd },
);

const id = /^[!-~]{1,256}$/;
const isCount = (value: number, most: number) => Number.isInteger(value) && value >= 0 && value <= most;

/** Raises with what does not fit. */
function assertFits(batch: ProviderBatch): void {
  const { counts, usage, metadata, errors, createdAt } = batch;
  const problems = [
    id.test(batch.id) || 'id',
    batch.inputFileId === '' || id.test(batch.inputFileId) || 'inputFileId',
    batch.outputFileId === null || id.test(batch.outputFileId) || 'outputFileId',
    batch.errorFileId === null || id.test(batch.errorFileId) || 'errorFileId',
    (batch.status.length >= 1 && batch.status.length <= 100) || 'status',
    batch.model === null || batch.model.length <= 256 || 'model',
    Object.values(counts).every((count) => isCount(count, 2_147_483_647)) || 'counts',
    usage === null || Object.values(usage).every((count) => isCount(count, 1e15)) || 'usage',
    Object.entries(metadata).length <= 17 || 'number of metadata',
    Object.entries(metadata).every(([name, value]) => name.length <= 64 && value.length <= 512) || 'metadata',
    errors.length <= 1000 || 'number of errors',
    errors.every(({ code, message }) => (code?.length ?? 0) <= 100 && message.length <= 500) || 'errors',
    errors.every(({ line }) => line === null || (Number.isSafeInteger(line) && line > 0)) || 'line',
    errors.reduce((sum, { message }) => sum + message.length, 0) <= 100_000 || 'length of errors',
    (createdAt.getTime() > Date.UTC(2019, 0) && createdAt.getTime() < Date.now() + 2 * 86_400_000) ||
      'createdAt',
  ].filter((problem) => problem !== true);
  if (problems.length > 0) throw new Error(`does not fit: ${problems.join(', ')}`);
}

/** Raises where Postgres could not take what the worker makes of it. */
function assertStorable({ id, status, inputFileId, errors }: ProviderBatch): void {
  const args = storableArgs({ provider_batch_id: id, provider_status: status, input_file_id: inputFileId });
  const polls = storableArgs({ polls: [{ provider_status: status, provider_errors: errors }] });
  // JSON writes what is no text as an escape.
  const text = JSON.stringify([args, polls]);
  if (/\\u0000|\\ud[89a-f]/i.test(text)) throw new Error(`cannot be stored: ${text.slice(0, 500)}`);
}

test('whatever comes as a batch is a batch within its bounds, or a ProviderError', () => {
  const runs = { taken: 0, refused: 0 };
  fc.assert(
    fc.property(mutated, (wire) => {
      let batch: ProviderBatch;
      try {
        batch = toProviderBatch(wire);
      } catch (error) {
        if (!(error instanceof ProviderError) || error.kind !== 'ambiguous') throw error;
        runs.refused += 1;
        return;
      }
      runs.taken += 1;
      assertFits(batch);
      assertStorable(batch);
    }),
    { numRuns: 20_000 },
  );
  // Both are really tried.
  expect(Math.min(runs.taken, runs.refused)).toBeGreaterThan(1000);
});

test('whatever comes as a page is a page, in which each entry is for itself', () => {
  const whole = makeWireBatch({ id: 'batch_whole', metadata: { rowmill_key: 'k' } });
  fc.assert(
    fc.property(fc.array(mutated, { maxLength: 4 }), fc.nat(4), (items, at) => {
      const all = items.toSpliced(at, 0, whole);
      const { batches, unreadable } = toBatchPage(all);
      expect(batches.length + unreadable.length).toBe(all.length);
      expect(batches.some((batch) => batch.id === 'batch_whole' && batch.metadata.rowmill_key === 'k')).toBe(
        true,
      );
      for (const batch of batches) assertFits(batch);
      for (const { key } of unreadable) if (key !== null && key.length > 512) throw new Error('long key');
      for (const file of toFilePage(items))
        if (!id.test(file.id) || file.name.length > 512) throw new Error('file');
    }),
    { numRuns: 10_000 },
  );
});

test('an entry that cannot be read keeps its key', () => {
  const keyed = { metadata: { rowmill_key: 'k', other: { toString: 1 } } };
  const items = [
    makeWireBatch({ ...keyed, id: 'x'.repeat(6000) }),
    makeWireBatch({ ...keyed, output_file_id: { toString: 1 } }),
    makeWireBatch({ id: 5 }),
    null,
  ];
  expect(toBatchPage(items)).toMatchObject({
    batches: [],
    unreadable: [{ key: 'k' }, { key: 'k' }, { key: null }, { key: null }],
  });
});
