import { createClient, PostgrestError } from '@supabase/supabase-js';
import { RowmillError } from '../errors.ts';
import { toDataApiError } from './data-api-errors.ts';
import { databaseAway } from './database-away.ts';
import { versionsBeyond } from './migrate.ts';
import { SqlError } from './sql-error.ts';
import { storableArgs } from './storable.ts';
import type { Transport } from './transport.ts';

/** What a Supabase project lets one answer have ("Max rows") where nobody changed it. */
const maxRows = 1000;

/**
 * Calls the functions over the Data API, as whatever role the key stands for. No call is ever repeated by itself, and
 * none waits longer than `timeoutMs`. Rejects `database_unreachable` where no answer came or the API has no database: what
 * was asked may then have been done. Errors of Postgres come as `SqlError`.
 *
 * An answer is cut without a word where it has more rows than the project's "Max rows"; a claim would then be under a
 * lease and nobody know of it. So the rows are counted with the answer (one query, in which the function runs once), and
 * `answer_cut` is raised where some are missing.
 */
export function createSupabaseTransport(options: {
  url: string;
  key: string;
  timeoutMs?: number;
}): Transport {
  const { timeoutMs = 60_000 } = options;
  /** The calls in hand, each with what cuts it short. */
  const inHand = new Map<Promise<unknown>, AbortController>();
  let isClosed = false;
  const client = createClient(options.url, options.key, {
    db: { schema: 'rowmill' },
    auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
    global: { fetch: fetchSuccess },
  });

  async function ask(name: string, args: Record<string, unknown>, count?: 'exact') {
    if (isClosed)
      throw new RowmillError('store_closed', `rowmill.${name} was called after the store was closed`);
    const abort = new AbortController();
    const late = () => abort.abort(databaseAway(`no answer within ${timeoutMs} ms`, 'TIMEOUT'));
    const timer = setTimeout(late, timeoutMs);
    const asked = client
      .rpc(name, storableArgs(args), count === undefined ? {} : { count })
      .retry(false)
      .abortSignal(abort.signal)
      .throwOnError();
    // A builder is sent when it is awaited.
    const call = Promise.resolve(asked);
    inHand.set(call, abort);
    try {
      return await call;
    } catch (error) {
      throw abort.signal.aborted ? abort.signal.reason : explain(error, name);
    } finally {
      clearTimeout(timer);
      inHand.delete(call);
    }
  }

  async function rows<Row>(name: string, args: Record<string, unknown>): Promise<Row[]> {
    const { data, count } = await ask(name, args, 'exact');
    const came = (data ?? []) as Row[];
    if (count === null || Number.isNaN(count)) {
      const message = `rowmill.${name}: expected to be told how many rows there are (Content-Range), and was not; something between here and the Data API takes it away`;
      throw new RowmillError('answer_cut', message);
    }
    if (came.length < count) {
      const message = `rowmill.${name} returned ${count} rows, and ${came.length} came. Raise "Max rows" in the Data API settings to ${maxRows} or more.`;
      throw new RowmillError('answer_cut', message, { fields: { rows: count, came: came.length } });
    }
    return came;
  }

  return {
    maxRows,
    rows,
    value: async <Value>(name: string, args: Record<string, unknown>) =>
      ((await ask(name, args)).data ?? null) as Value,
    missingMigrations: async () => {
      try {
        return await versionsBeyond(await rows<string>('migration_versions', {}));
      } catch (error) {
        const { code } = error as { code?: string };
        // Without the function some are missing; which ones is for the owner to read.
        if (code === 'function_missing') return await versionsBeyond([]);
        if (code !== '42501') throw error;
        const message =
          'The role of SUPABASE_SERVICE_ROLE_KEY may not call the functions of schema rowmill. Apply the migrations, which grant that to service_role: supabase db push, or npm run migrate with DATABASE_URL.';
        throw new RowmillError('rights_missing', message, { cause: error });
      }
    },
    // It begins its transactions as read-write or read-only itself. What is refused shows in the calls.
    writability: async () => null,
    databaseEncoding: async () => null,
    close: async (closeTimeoutMs) => {
      isClosed = true;
      const deadline = setTimeout(() => {
        for (const abort of inHand.values()) abort.abort(databaseAway('the store was closed', 'CLOSED'));
      }, closeTimeoutMs);
      await Promise.allSettled(inHand.keys());
      clearTimeout(deadline);
    },
  };
}

/** Raises what is no success here, where its status is known: behind this, only its body is. */
async function fetchSuccess(input: string | URL | Request, init?: RequestInit): Promise<Response> {
  const answer = await fetch(input, init);
  if (answer.ok) return answer;
  const name = new URL(answer.url).pathname.split('/').at(-1)!;
  throw toDataApiError(answer.status, await answer.text(), name);
}

function explain(error: unknown, name: string): Error {
  if (error instanceof RowmillError || error instanceof SqlError) return error;
  if (error instanceof PostgrestError) {
    const message = `rowmill.${name}: expected JSON of the Data API, and something else came with a status of success`;
    return new RowmillError('data_api_refused', message);
  }
  const { name: kind, cause } = error as { name: string; cause?: { code?: string; message?: string } };
  const code = cause?.code ?? kind;
  return databaseAway(cause?.message || code, code, error);
}
