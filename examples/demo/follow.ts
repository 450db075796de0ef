import { setTimeout as sleep } from 'node:timers/promises';
import type postgres from 'postgres';
import { RowmillError } from '../../src/errors.ts';
import { barLines, summaryLine } from './bars.ts';
import type { Screen } from './screen.ts';
import { readStatus, type Status } from './status.ts';
import { count } from './text.ts';

const lookEveryMs = 150;
// Rows that are neither in work nor settled were never queued; waiting longer brings none of them back.
const idleMs = 10_000;

export type Following = {
  total: number;
  /** Settles when all rows are in the table. */
  imported: Promise<unknown>;
  timeoutMs: number | undefined;
  signal: AbortSignal;
};

/** Draws the bars until every row is settled or nothing moves any more; raises `demo_timeout` after `timeoutMs`. */
export async function follow(sql: postgres.Sql, screen: Screen, options: Following): Promise<Status> {
  const { total, signal } = options;
  const startedAt = performance.now();
  let isImported = false;
  let failure: { error: unknown } | undefined;
  options.imported.then(
    () => {
      isImported = true;
    },
    (error: unknown) => {
      failure = { error };
    },
  );
  let idleSince: number | undefined;
  for (;;) {
    signal.throwIfAborted();
    if (failure) throw failure.error;
    // Asked before the look: rows that arrive in between are in it or make it look again.
    const wasImported = isImported;
    const status = await readStatus(sql);
    const elapsedMs = performance.now() - startedAt;
    screen.redraw(barLines(status, total, elapsedMs / 1000, screen.width()), summaryLine(status, total));

    const isIdle = wasImported && status.pending + status.waiting + status.in_flight === 0;
    if (!isIdle) idleSince = undefined;
    else idleSince ??= elapsedMs;
    const isSettled = status.enriched + status.failed + status.gone >= total;
    if (isIdle && (isSettled || elapsedMs - idleSince! > idleMs)) {
      screen.settle();
      return status;
    }
    if (options.timeoutMs !== undefined && elapsedMs > options.timeoutMs) {
      screen.settle();
      throw new RowmillError('demo_timeout', timeoutMessage(status, total, elapsedMs));
    }
    await sleep(lookEveryMs, undefined, { signal });
  }
}

function timeoutMessage(status: Status, total: number, elapsedMs: number): string {
  const { pending, waiting, in_flight: inFlight, enriched, failed, problem } = status;
  return [
    `Not done after ${Math.round(elapsedMs / 1000)} s: of ${count(total)} rows ${count(enriched)} are enriched, ${count(failed)} failed,`,
    `${count(pending)} pending (in no chunk), ${count(waiting)} waiting (in no batch), ${count(inFlight)} in flight.`,
    ...(problem === null ? [] : [`The pipeline says: ${problem}`]),
  ].join('\n');
}
