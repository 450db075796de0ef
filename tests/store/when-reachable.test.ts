import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { RowmillError } from '../../src/errors.ts';
import { explainAway, isConnectionFailure } from '../../src/store/database-away.ts';
import { whenReachable } from '../../src/store/when-reachable.ts';

// Over the global timer, which a test can turn.
vi.mock('node:timers/promises', () => ({
  setTimeout: (ms: number, value: unknown, { signal }: { signal: AbortSignal }) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => resolve(value), ms);
      signal.addEventListener('abort', () => {
        clearTimeout(timer);
        reject(signal.reason);
      });
    }),
}));

const away = () =>
  new RowmillError('database_unreachable', 'The database is out of reach: ECONNREFUSED', {
    fields: { why: 'connect ECONNREFUSED 127.0.0.1:5499', cause: 'ECONNREFUSED' },
  });

describe('waiting for a database', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  function start(call: () => Promise<unknown>, url = 'postgres://user:a-secret-word@db.example.com:5499/x') {
    const said: string[] = [];
    const logger = pino({}, { write: (text: string) => said.push(JSON.parse(text).msg) });
    const abort = new AbortController();
    return { said, abort, waiting: whenReachable(call, { url, logger, signal: abort.signal }) };
  }

  it('is none where it answers', async () => {
    const { waiting, said } = start(async () => 'there');
    expect(await waiting).toBe('there');
    expect(said).toEqual([]);
  });

  it('tries again after half a second, then less and less often, ten seconds apart at the most', async () => {
    let isThere = false;
    const call = vi.fn(async () => {
      if (!isThere) throw away();
      return 'there';
    });
    const { waiting } = start(call);
    const pauses = [500, 1000, 2000, 4000, 8000, 10_000, 10_000];
    for (const [tries, pause] of pauses.entries()) {
      await vi.advanceTimersByTimeAsync(pause - 1);
      expect(call).toHaveBeenCalledTimes(tries + 1);
      await vi.advanceTimersByTimeAsync(1);
      expect(call).toHaveBeenCalledTimes(tries + 2);
    }
    isThere = true;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await waiting).toBe('there');
  });

  it('says at each try where it is looked for and why that failed, and nothing that is secret', async () => {
    const { said, abort } = start(() => Promise.reject(away()));
    await vi.advanceTimersByTimeAsync(500);
    abort.abort();
    expect(said).toEqual(
      [0.5, 1].map(
        (pause) =>
          `No Postgres answers at db.example.com:5499 (connect ECONNREFUSED 127.0.0.1:5499). Start it, or correct DATABASE_URL; trying again in ${pause} s.`,
      ),
    );
  });

  it.each([
    ['postgres://user:a-secret-word@db.example.com/x', 'db.example.com:5432'],
    ['not a url with a-secret-word', 'DATABASE_URL'],
  ])('names the place of %s: %s', async (url, place) => {
    const { said, abort } = start(() => Promise.reject(away()), url);
    await vi.advanceTimersByTimeAsync(1);
    abort.abort();
    expect(said[0]).toContain(`at ${place} (`);
    expect(said[0]).not.toContain('a-secret-word');
  });

  it('says once that it takes no writes, and goes on when it does', async () => {
    let isReadOnly = true;
    const { waiting, said } = start(async () => {
      if (!isReadOnly) return 'there';
      throw new RowmillError('database_read_only', 'The database takes no writes: it is so');
    });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(said).toEqual([
      'db.example.com:5499: The database takes no writes: it is so. npm run doctor says what to do; trying again, every 10 s at the least.',
    ]);
    isReadOnly = false;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await waiting).toBe('there');
  });

  it('ends at once where the service stops', async () => {
    const call = vi.fn(() => Promise.reject(away()));
    const { waiting, abort } = start(call);
    await vi.advanceTimersByTimeAsync(100);
    abort.abort();
    expect(await waiting).toBeNull();
    expect(call).toHaveBeenCalledOnce();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('does not begin where the service has stopped before', async () => {
    const call = vi.fn();
    const logger = pino({ level: 'silent' });
    expect(await whenReachable(call, { url: 'x', logger, signal: AbortSignal.abort() })).toBeNull();
    expect(call).not.toHaveBeenCalled();
  });

  it.each([
    new RowmillError('migration_failed', 'migration 2_x.sql failed'),
    new Error('password authentication failed'),
  ])('is no cure for what waiting cannot mend: $message', async (error) => {
    const { waiting, said } = start(() => Promise.reject(error));
    await expect(waiting).rejects.toBe(error);
    expect(said).toEqual([]);
  });
});

describe('a failure of the database', () => {
  const withCode = (code: string) => Object.assign(new Error(`it is ${code}`), { code });

  it.each([
    ...['ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT', 'EPIPE', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH'],
    ...['CONNECT_TIMEOUT', 'CONNECTION_CLOSED', 'CONNECTION_DESTROYED'],
    ...['57P01', '57P02', '57P03', '53300', '08006', '08P01'],
  ])('%s says that it is away', (code) => {
    expect(isConnectionFailure(withCode(code))).toBe(true);
    expect(() => explainAway(withCode(code))).toThrow(
      expect.objectContaining({
        code: 'database_unreachable',
        fields: { why: `it is ${code}`, cause: code },
      }),
    );
  });

  it.each([
    ['25006', 'database_read_only'],
    ['53100', 'database_full'],
  ])('%s says that it takes no writes, and not that the connection is lost', (code, meaning) => {
    const error = withCode(code);
    expect(isConnectionFailure(error)).toBe(false);
    const fields = { why: `it is ${code}`, cause: code };
    expect(() => explainAway(error)).toThrow(expect.objectContaining({ code: meaning, fields }));
  });

  it.each(['28P01', '3D000', '42883', '40P01', '55P03', '57014', '23505', 'RM111'])('%s does not', (code) => {
    const error = withCode(code);
    expect(isConnectionFailure(error)).toBe(false);
    expect(() => explainAway(error)).toThrow(error);
  });

  it('without a code does not', () => {
    for (const error of [new Error('no code'), { code: 8006 }, 'a text']) {
      expect(isConnectionFailure(error)).toBe(false);
    }
  });
});
