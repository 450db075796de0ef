import pino from 'pino';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { RowmillError } from '../../src/errors.ts';
import { createReadiness, type ReadinessOptions } from '../../src/routes/readiness.ts';

const address = '127.0.0.1:5598';
const away = () =>
  new RowmillError('database_unreachable', `The database is out of reach: connect ECONNREFUSED ${address}`);
const full = () =>
  new RowmillError('database_full', 'The database takes no writes: could not extend file "base/5/16384"');

function build(
  store: Partial<ReadinessOptions['store']> = {},
  outage: () => RowmillError | null = () => null,
) {
  const said: string[] = [];
  const logger = pino({}, { write: (text: string) => said.push(JSON.parse(text).msg) });
  const whyUnready = createReadiness({
    store: { missingMigrations: async () => [], writability: async () => 'writable', ...store },
    logger,
    outage,
  });
  return { whyUnready, said };
}

describe('whether a worker is ready', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it('is told to everybody without addresses and names, and to the log with them, once', async () => {
    let error: Error | null = away();
    const missingMigrations = async () => {
      if (error !== null) throw error;
      return [];
    };
    const { whyUnready, said } = build({ missingMigrations });
    for (let probes = 0; probes < 5; probes += 1) {
      expect(await whyUnready()).toEqual({
        code: 'database_unreachable',
        message: 'The database is out of reach. The log says more.',
      });
    }
    expect(said).toEqual([expect.stringContaining(address)]);
    error = new RowmillError(
      'schema_foreign',
      'Expected schema rowmill to belong to postgres, came mallory.',
    );
    expect(await whyUnready()).toEqual({
      code: 'schema_foreign',
      message: 'The database is not as Rowmill needs it. The log says more.',
    });
    expect(said[1]).toContain('mallory');
    error = null;
    for (let probes = 0; probes < 5; probes += 1) expect(await whyUnready()).toBeNull();
    expect(said.slice(2)).toEqual(['/readyz says yes again']);
  });

  it.each(['read_only', 'standby'] as const)('is no on a database that is %s', async (is) => {
    const { whyUnready } = build({ writability: async () => is });
    expect(await whyUnready()).toMatchObject({ code: 'database_read_only' });
  });

  it('is no where the jobs are refused their writes, whatever the database says', async () => {
    let met: RowmillError | null = full();
    const { whyUnready, said } = build({ writability: async () => null }, () => met);
    expect(await whyUnready()).toEqual({
      code: 'database_full',
      message: 'The database takes no writes: its disk is full. The log says more.',
    });
    expect(said[0]).toContain('base/5/16384');
    // It was away a moment ago, and has just answered.
    met = away();
    expect(await whyUnready()).toBeNull();
  });

  it('is asked of the database once, however many probes there are, and again by the next', async () => {
    let looks = 0;
    const gate = Promise.withResolvers<string[]>();
    const missingMigrations = () => {
      looks += 1;
      return gate.promise;
    };
    const { whyUnready } = build({ missingMigrations });
    const probes = Array.from({ length: 200 }, () => whyUnready());
    gate.resolve([]);
    expect(new Set(await Promise.all(probes))).toEqual(new Set([null]));
    expect(looks).toBe(1);
    await whyUnready();
    expect(looks).toBe(2);
  });

  it('is no within 3 s where the database is silent, which is asked once a minute', async () => {
    vi.useFakeTimers();
    let looks = 0;
    const missingMigrations = () => {
      looks += 1;
      return new Promise<never>(() => {});
    };
    const { whyUnready } = build({ missingMigrations });
    const answers: unknown[] = [];
    const probe = () => void whyUnready().then((answer) => answers.push(answer));
    probe();
    await vi.advanceTimersByTimeAsync(3000);
    expect(answers).toMatchObject([{ code: 'database_unreachable' }]);
    for (let seconds = 3; seconds < 180; seconds += 1) {
      probe();
      await vi.advanceTimersByTimeAsync(1000);
    }
    expect(answers.length).toBeGreaterThan(170);
    expect(looks).toBe(3);
  });
});
