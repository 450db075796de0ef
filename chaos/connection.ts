import { setTimeout as delay } from 'node:timers/promises';
import postgres from 'postgres';
import { messageOf } from '../src/errors.ts';

/** A client gives up on an answer after this, should a dead server have left its socket open. */
const answerMs = 25_000;
/** The server gives up before that: a statement of a user's that waits so long is a fault. */
const statementMs = 15_000;
const retryMs = 150;
const refusalsBorne = 5;

/**
 * A user's connection: whatever is run on it survives crashes, by being run again on a new connection. A commit whose
 * answer was lost may have happened, so what is run must bear repetition.
 */
export class Connection {
  /** What Postgres refused, though it was up. */
  readonly refusals: string[] = [];
  readonly #url: string;
  readonly #signal: AbortSignal;
  #sql: postgres.Sql;

  constructor(url: string, signal: AbortSignal) {
    this.#url = url;
    this.#signal = signal;
    this.#sql = connect(url);
  }

  /** Raises what Postgres refused again and again; a lost connection never. */
  async run<Result>(work: (sql: postgres.Sql) => Promise<Result>): Promise<Result> {
    for (let refusals = 0; ; ) {
      this.#signal.throwIfAborted();
      try {
        return await withinTime(work(this.#sql));
      } catch (error) {
        if (!isLost(error)) {
          const { code = '' } = error as { code?: string };
          this.refusals.push(`${code} ${messageOf(error)}`);
          refusals += 1;
          if (refusals === refusalsBorne) throw error;
        }
        // The client as well: one whose server died in the middle of a transaction is not to be trusted.
        drop(this.#sql);
        this.#sql = connect(this.#url);
        await delay(retryMs, undefined, { signal: this.#signal });
      }
    }
  }

  async close(): Promise<void> {
    await this.#sql.end({ timeout: 1 });
  }
}

function connect(url: string): postgres.Sql {
  return postgres(url, {
    max: 1,
    connect_timeout: 5,
    // A connection that is lost while postgres.js asks for them is a rejection that nobody can catch.
    fetch_types: false,
    onnotice: () => {},
    connection: { application_name: 'chaos', statement_timeout: statementMs },
  });
}

function drop(sql: postgres.Sql): void {
  void sql.end({ timeout: 0 }).catch(() => {});
}

async function withinTime<Result>(work: Promise<Result>): Promise<Result> {
  const patience = new AbortController();
  const tooLong = delay(answerMs, undefined, { signal: patience.signal }).then(() => {
    throw Object.assign(new Error('no answer came'), { code: 'CONNECTION_SILENT' });
  });
  tooLong.catch(() => {});
  try {
    return await Promise.race([work, tooLong]);
  } finally {
    patience.abort();
  }
}

/** Connection exceptions, a server that shuts down or starts up, no connection left; and the client's own words for it. */
function isLost(error: unknown): boolean {
  const { code = '' } = error as { code?: string };
  return /^(08...|57P0[123]|53300|CONNECT.*|ECONN.*|EPIPE|ENOTCONN)$/.test(code);
}
