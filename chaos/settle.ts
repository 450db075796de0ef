import { setTimeout as delay } from 'node:timers/promises';
import type { Simulator } from '../src/simulator/simulator.ts';
import type { Connection } from './connection.ts';
import { openBatchesOf } from './provider-view.ts';

const lookEveryMs = 500;
const tellEveryMs = 10_000;

/**
 * Waits until nothing is under way, in the database or at the provider. Resolves with what is open when the time is
 * up; with nothing, if all came to an end.
 */
export async function settle(
  connection: Connection,
  simulator: Simulator,
  timeoutMs: number,
  tell: (open: string[]) => void,
  signal: AbortSignal,
): Promise<string[]> {
  const deadline = Date.now() + timeoutMs;
  let tellAt = Date.now() + tellEveryMs;
  for (;;) {
    const open = [...(await openInDatabase(connection)), ...openAtProvider(simulator)];
    if (open.length === 0 || Date.now() > deadline) return open;
    if (Date.now() > tellAt) {
      tell(open);
      tellAt += tellEveryMs;
    }
    await delay(lookEveryMs, undefined, { signal });
  }
}

async function openInDatabase(connection: Connection): Promise<string[]> {
  const rows = await connection.run(
    (sql) => sql<{ what: string }[]>`
      select format('%s: %s rows pending, %s waiting, %s in flight, %s open batches; %s',
        s.name, s.pending, s.waiting, s.in_flight, s.open_batches, coalesce(s.problem, 'no problem')) as what
      from rowmill.pipeline_status as s
      where s.pending + s.waiting + s.in_flight + s.open_batches > 0`,
  );
  return rows.map((row) => row.what);
}

function openAtProvider(simulator: Simulator): string[] {
  const open: string[] = [];
  const batches = openBatchesOf(simulator);
  if (batches.length > 0) open.push(`the provider runs ${batches.length} batches`);
  const files = simulator.files().length;
  if (files > 0) open.push(`the provider holds ${files} files`);
  return open;
}
