import type { Logger } from 'pino';
import { messageOf, RowmillError } from '../errors.ts';
import { inTime } from '../in-time.ts';
import { tellMissing } from '../store/migrate.ts';
import type { Store } from '../store/store.ts';

export type Unready = { code: string; message: string };

export type ReadinessOptions = {
  store: Pick<Store, 'missingMigrations' | 'writability'>;
  logger: Logger;
  /** What the jobs met last: over the Data API, and on a full disk, writes alone tell. */
  outage: () => RowmillError | null;
};

// A database behind a silent network answers nothing; a probe wants to know in time.
const patienceMs = 3000;
// A look without an answer holds a connection: another one begins only when this one may be given up.
const longestLookMs = 60_000;

// Everybody may ask, so addresses and names stay in the log.
const reasons: Record<string, string> = {
  database_unreachable: 'The database is out of reach.',
  database_read_only: 'The database takes no writes: it is read-only, or a standby.',
  database_full: 'The database takes no writes: its disk is full.',
};

/**
 * Resolves with null where the database is reached, takes writes and has all migrations, else with the reason, within 3
 * seconds. However many ask at once, the database is asked once. Never rejects; what is wrong is logged when it changes.
 */
export function createReadiness({ store, logger, outage }: ReadinessOptions): () => Promise<Unready | null> {
  let asked: { look: Promise<Unready | null>; sinceMs: number } | null = null;
  let known: string | null = null;

  async function look(): Promise<Unready | null> {
    const missing = await store.missingMigrations();
    if (missing.length > 0) return { code: 'migrations_missing', message: tellMissing(missing) };
    const writability = await store.writability();
    if (writability === 'standby') throw readOnly('the database is a standby');
    if (writability === 'read_only') throw readOnly('default_transaction_read_only is on');
    const met = outage();
    // That it was out of reach is over.
    if (met !== null && met.code !== 'database_unreachable') throw met;
    return null;
  }

  function share(): Promise<Unready | null> {
    if (asked !== null && performance.now() - asked.sinceMs < longestLookMs) return asked.look;
    const mine = { look: look(), sinceMs: performance.now() };
    asked = mine;
    const forget = () => {
      if (asked === mine) asked = null;
    };
    mine.look.then(forget, forget);
    return mine.look;
  }

  function note(code: string | null, detail: string): void {
    if (code === known) return;
    known = code;
    if (code === null) logger.info('/readyz says yes again');
    else logger.warn({ code }, `/readyz says no: ${detail}`);
  }

  return async () => {
    try {
      const unready = await inTime(share(), patienceMs, silent);
      note(unready?.code ?? null, unready?.message ?? '');
      return unready;
    } catch (error) {
      const code = error instanceof RowmillError ? error.code : 'database_unreachable';
      note(code, messageOf(error));
      const reason = reasons[code] ?? 'The database is not as Rowmill needs it.';
      return { code, message: `${reason} The log says more.` };
    }
  };
}

const readOnly = (why: string) => new RowmillError('database_read_only', why);

function silent(): RowmillError {
  return new RowmillError(
    'database_unreachable',
    `the database has not answered within ${patienceMs / 1000} s`,
  );
}
