import { setTimeout as delay } from 'node:timers/promises';
import postgres from 'postgres';
import { type QueuedRequest, send } from './pg-net-request.ts';

const batchSize = 200;
const responsesLive = '6 hours';
const UNDEFINED_TABLE = '42P01';

export type Deliverer = {
  /** Ends as pg_net's worker does when it is down: what is queued stays queued. */
  stop(): Promise<void>;
  /** Goes on after `stop`. Harmless to repeat. */
  start(): Promise<void>;
  /** The next `requests` are taken, and neither sent nor answered. */
  dropNext(requests: number): void;
  /** What a crash of Postgres does to unlogged tables: queue and answers are gone, and ids begin anew. */
  crash(): Promise<void>;
};

/**
 * Delivers what the stand-in for pg_net has queued in one database, as pg_net's worker does: in rounds of up to 200
 * requests, oldest first, all of a round at once, each taken from the queue for good and sent once; the answers are there
 * when the whole round is over. It looks every `pauseMs`, where pg_net waits a second between two rounds.
 */
export async function startDeliverer(url: string, options: { pauseMs?: number } = {}): Promise<Deliverer> {
  const { pauseMs = 50 } = options;
  let toDrop = 0;
  let running: { sql: postgres.Sql; stopped: AbortController; loop: Promise<void> } | null = null;

  async function round(sql: postgres.Sql): Promise<void> {
    await sql.begin(async (tx) => {
      await tx`
        delete from net._http_response where ctid = any (array(
          select ctid from net._http_response where created < now() - ${responsesLive}::interval order by created limit ${batchSize}
        ))`;
      const requests = await tx<QueuedRequest[]>`
        with taken as (select id from net.http_request_queue order by id limit ${batchSize})
        delete from net.http_request_queue as q using taken as t where q.id = t.id
        returning q.id, q.method, q.url, q.headers, q.body, q.timeout_milliseconds`;
      const dropped = Math.min(toDrop, requests.length);
      toDrop -= dropped;
      const sent = [...requests].sort((one, other) => one.id - other.id).slice(dropped);
      await Promise.all(
        sent.map(async (request) => {
          const answer = await send(request);
          await tx`insert into net._http_response ${tx({ id: request.id, ...answer } as never)}`;
        }),
      );
    });
  }

  async function start(): Promise<void> {
    if (running) return;
    const sql = postgres(url, {
      max: 1,
      onnotice: () => {},
      connection: { application_name: 'pg_net stand-in' },
      types: { bigint: { to: 20, from: [20], serialize: String, parse: Number } },
    }) as unknown as postgres.Sql;
    // Whoever is told that it runs finds its session.
    await sql`select 1`;
    const stopped = new AbortController();
    const loop = (async () => {
      while (!stopped.signal.aborted) {
        try {
          const [found] = await sql`select exists (select from net.http_request_queue) as is_work`;
          if (found!.is_work) await round(sql);
        } catch (error) {
          // As pg_net's worker does, it waits where the tables are gone for a while.
          if ((error as { code?: string }).code !== UNDEFINED_TABLE) throw error;
        }
        await delay(pauseMs, undefined, { signal: stopped.signal }).catch(() => {});
      }
    })();
    // A database that was dropped ends it as well.
    loop.catch(() => {});
    running = { sql, stopped, loop };
  }

  async function stop(): Promise<void> {
    const stopping = running;
    if (!stopping) return;
    running = null;
    stopping.stopped.abort();
    await stopping.loop.catch(() => {});
    await stopping.sql.end({ timeout: 5 });
  }

  await start();
  return {
    stop,
    start,
    dropNext(requests) {
      toDrop += requests;
    },
    async crash() {
      const wasRunning = running !== null;
      await stop();
      const sql = postgres(url, { max: 1, onnotice: () => {} });
      try {
        await sql`truncate net.http_request_queue, net._http_response`;
        await sql`alter sequence net.http_request_queue_id_seq restart`;
      } finally {
        await sql.end({ timeout: 5 });
      }
      if (wasRunning) await start();
    },
  };
}
