import { describe, expect, it } from 'vitest';
import { type ApplyLines, applyLines } from '../../src/jobs/apply-lines.ts';
import { maxTries } from '../../src/jobs/unreadable.ts';
import { databaseAway } from '../../src/store/database-away.ts';
import { SqlError } from '../../src/store/sql-error.ts';
import type { Slice } from '../../src/store/store.ts';

const bytes = 10;
const lines = (count: number) =>
  Array.from({ length: count }, (_, n) => ({ text: `${n}`, end: (n + 1) * bytes }) as never);

/** Applies `count` lines to a database that answers a slice as `refuse` says. */
async function applied(
  count: number,
  refuse: (places: number[]) => Error | null,
  more: Partial<ApplyLines> = {},
) {
  const slices: { from: number; to: number; answers: number[]; failures: Slice['failures'] }[] = [];
  const how: ApplyLines = {
    read: async (some, from) => {
      const answers = some.map(({ text }) => ({ c: 1, n: Number(text), h: 'h' }));
      const empty = {
        unknown_lines: 0,
        repeated_lines: 0,
        input_tokens: 0,
        cached_tokens: 0,
        output_tokens: 0,
      };
      const position = { from_position: from, to_position: some.at(-1)!.end };
      return { file: 'output', ...position, answers, failures: [], ...empty, billed_requests: 0 };
    },
    apply: async (slice) => {
      const places = slice.answers.map(({ n }) => n);
      const error = refuse(places);
      if (error) throw error;
      slices.push({
        ...{ from: slice.from_position, to: slice.to_position },
        ...{ answers: places, failures: slice.failures },
      });
      return {
        enriched: places.length,
        stale: 0,
        gone: 0,
        failed: slice.failures.length,
        duplicate: 0,
        unknown: 0,
      };
    },
    onApplied: async () => {},
    hasWritten: () => slices.some(({ answers }) => answers.length > 0),
    tries: 0,
    ...more,
  };
  const result = await applyLines(how, lines(count), 0);
  return { result, slices };
}

const sqlError = (code: string) => new SqlError(code, `refused with ${code}`, null, null);

describe('applying the lines of a file', () => {
  it('is one slice where nothing is refused', async () => {
    const { slices } = await applied(100, () => null);
    expect(slices).toMatchObject([{ from: 0, to: 1000 }]);
  });

  it.each(['57014', 'XX000', '55000', 'P0004'])(
    'fails the one line that is refused with %s, and applies all others in their order',
    async (code) => {
      const { slices } = await applied(100, (places) => (places.includes(63) ? sqlError(code) : null));
      expect(slices.flatMap(({ answers }) => answers)).toEqual(
        Array.from({ length: 100 }, (_, n) => n).filter((n) => n !== 63),
      );
      expect(slices.flatMap((slice) => slice.failures)).toMatchObject([
        { n: 63, class: 'type_mismatch', code, retried: true, counted: true },
      ]);
      // No byte is left out, and none counted twice.
      expect(slices[0]!.from).toBe(0);
      for (const [at, { to }] of slices.entries()) expect(slices[at + 1]?.from ?? 1000).toBe(to);
    },
  );

  it('halves a slice that takes longer than the database lets it, and fails nothing', async () => {
    const { slices } = await applied(100, (places) => (places.length > 10 ? sqlError('57014') : null));
    expect(slices.flatMap(({ answers }) => answers)).toHaveLength(100);
    expect(slices.flatMap((slice) => slice.failures)).toEqual([]);
  });

  it.each(['08006', '25006', '42501', '0A000', '53100', '57P01', 'RM201'])(
    'neither halves nor fails a line for %s, which is no line’s fault',
    async (code) => {
      let asked = 0;
      const refused = applied(100, () => {
        asked += 1;
        return sqlError(code);
      });
      await expect(refused).rejects.toMatchObject({ code });
      expect(asked).toBe(1);
    },
  );

  it('rejects where the database is away', async () => {
    await expect(applied(100, () => databaseAway('gone', 'ECONNRESET'))).rejects.toMatchObject({
      code: 'database_unreachable',
    });
  });

  it.each(['55P03', '40P01', '40001'])(
    'waits for a row that is locked (%s), until it was tried often',
    async (code) => {
      const refuse = (places: number[]) => (places.includes(3) ? sqlError(code) : null);
      await expect(applied(8, refuse)).rejects.toMatchObject({ code });
      const { slices } = await applied(8, refuse, { tries: maxTries - 1 });
      expect(slices.flatMap((slice) => slice.failures)).toMatchObject([{ n: 3, code }]);
    },
  );

  it('fails no line of a batch of which nothing was written: the table may take none', async () => {
    await expect(applied(8, () => sqlError('XX000'))).rejects.toMatchObject({ code: 'XX000' });
  });

  it('ends where the batch is not under the lease any more', async () => {
    expect(await applied(8, () => null, { apply: async () => null })).toEqual({ result: false, slices: [] });
  });
});
