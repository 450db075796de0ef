import pino from 'pino';
import { describe, expect, it } from 'vitest';
import { RowmillError } from '../../src/errors.ts';
import { whenCurrent } from '../../src/store/when-current.ts';

function start(answers: (() => Promise<string[]>)[]) {
  const lines: { msg: string }[] = [];
  const logger = pino({ base: null }, { write: (text: string) => void lines.push(JSON.parse(text)) });
  const abort = new AbortController();
  let asked = 0;
  const transport = {
    missingMigrations: () => {
      asked += 1;
      return (answers[asked - 1] ?? answers.at(-1)!)();
    },
  };
  const options = { place: 'abc.supabase.co', logger, signal: abort.signal };
  return { waiting: whenCurrent(transport, options), lines, abort, asked: () => asked };
}
const refuse = (code: string) => () => Promise.reject(new RowmillError(code, `${code} it is.`));

describe('waiting for migrations that somebody else applies', () => {
  it('ends at once where none is missing', async () => {
    const { waiting, lines } = start([async () => []]);
    expect(await waiting).toBe(true);
    expect(lines).toEqual([]);
  });

  it('says what is missing and where, and asks again', async () => {
    const { waiting, lines, asked } = start([
      async () => ['20260101000000', '20260102000000'],
      refuse('database_unreachable'),
      async () => [],
    ]);
    expect(await waiting).toBe(true);
    expect(asked()).toBe(3);
    expect(lines).toMatchObject([
      {
        missing: ['20260101000000', '20260102000000'],
        msg: expect.stringContaining('2 are missing, from 20260101000000 on'),
      },
      { msg: 'abc.supabase.co: database_unreachable it is. Trying again in 1 s.' },
    ]);
    expect(lines[0]!.msg).toContain('supabase db push');
    expect(lines[0]!.msg).toContain(`notify pgrst, 'reload schema'`);
  });

  it.each(['schema_not_exposed', 'rights_missing', 'answer_cut'])(
    'goes on through %s, which somebody can mend',
    async (code) => {
      const { waiting, lines } = start([refuse(code), async () => []]);
      expect(await waiting).toBe(true);
      expect(lines).toMatchObject([{ code }]);
    },
  );

  it.each(['supabase_key', 'supabase_url'])(
    'rejects %s, which stands in our own environment',
    async (code) => {
      const { waiting, asked } = start([refuse(code), async () => []]);
      await expect(waiting).rejects.toMatchObject({ code });
      expect(asked()).toBe(1);
    },
  );

  it('ends at once where the worker is stopped, waiting or asking', async () => {
    const silent = start([() => new Promise(() => {})]);
    silent.abort.abort();
    expect(await silent.waiting).toBe(false);
    const waits = start([async () => ['20260101000000']]);
    while (waits.lines.length === 0) await new Promise((resolve) => setImmediate(resolve));
    waits.abort.abort();
    expect(await waits.waiting).toBe(false);
    expect(waits.asked()).toBe(1);
  });
});
