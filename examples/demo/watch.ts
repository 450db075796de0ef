import { setTimeout as sleep } from 'node:timers/promises';
import { styleText } from 'node:util';
import type postgres from 'postgres';
import type { Screen } from './screen.ts';
import { readStatus, type Status } from './status.ts';
import { counted } from './text.ts';

const lookEveryMs = 500;

/** Says what happens to rows that somebody inserts or edits, until the signal comes; never rejects. */
export async function watch(sql: postgres.Sql, screen: Screen, signal: AbortSignal): Promise<void> {
  let before: Status | undefined;
  while (!signal.aborted) {
    try {
      const now = await readStatus(sql);
      if (before) for (const text of changes(before, now)) say(screen, text);
      before = now;
    } catch (error) {
      // The database may be restarted, the pipeline dropped: both are the watcher's right.
      if (before) say(screen, error instanceof Error ? error.message : String(error));
      before = undefined;
    }
    await sleep(lookEveryMs, undefined, { signal }).catch(() => {});
  }
}

function changes(before: Status, now: Status): string[] {
  const queued = inWork(now) + settled(now) - inWork(before) - settled(before);
  const enriched = now.enriched - before.enriched;
  const failed = now.failed - before.failed;
  return [
    ...(queued > 0 ? [`${counted(queued, 'row')} queued`] : []),
    ...(enriched > 0 ? [styleText('green', `${counted(enriched, 'row')} enriched`)] : []),
    ...(failed > 0 ? [styleText('red', `${counted(failed, 'row')} failed; see rowmill.row_failures`)] : []),
  ];
}

const inWork = (status: Status) => status.pending + status.waiting + status.in_flight;
const settled = (status: Status) => status.enriched + status.failed + status.gone;

function say(screen: Screen, text: string): void {
  screen.print(`  ${styleText('dim', new Date().toTimeString().slice(0, 8))}  ${text}`);
}
