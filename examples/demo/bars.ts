import { styleText } from 'node:util';
import { labelCells } from './screen.ts';
import type { Status } from './status.ts';
import { count, counted, cutTo, wrap } from './text.ts';

export type Stage = { label: string; rows: number };

/** How many rows have come at least as far as each stage. */
export function stages(status: Status, total: number): Stage[] {
  const settled = status.enriched + status.failed + status.gone;
  const submitted = settled + status.in_flight;
  const queued = submitted + status.waiting + status.pending;
  // A row that is edited or retried is counted at each answer; the bar is full only once.
  const within = (rows: number) => Math.max(0, Math.min(rows, total));
  return [
    { label: 'queued', rows: within(queued) },
    { label: 'submitted', rows: within(submitted) },
    { label: 'enriched', rows: within(status.enriched) },
  ];
}

const stageCells = labelCells + 2;
const colors = { queued: 'yellow', submitted: 'blue', enriched: 'green' } as const;

export function barLines(status: Status, total: number, seconds: number, width: number): string[] {
  const digits = count(total).length;
  const room = Math.min(60, width - 2 - stageCells - 2 * digits - 6);
  const lines = stages(status, total).map(({ label, rows }) => {
    const filled = rows >= total ? room : Math.floor((rows / total) * room);
    const bar =
      styleText(colors[label as keyof typeof colors], '█'.repeat(filled)) +
      styleText('dim', '░'.repeat(room - filled));
    return `  ${label.padEnd(stageCells)}${bar}  ${count(rows).padStart(digits)} / ${count(total)}`;
  });
  // A problem may need more than a line; a word without an end (a path) must not break out of its own.
  const said = wrap(`${seconds.toFixed(1)} s: ${happening(status)}`, width - 2)
    .slice(0, 4)
    .map((line) => `  ${styleText('dim', cutTo(line, width - 2))}`);
  return ['', ...lines, '', ...said];
}

/** The same in one line, for a log. */
export function summaryLine(status: Status, total: number): string {
  const parts = stages(status, total).map(({ label, rows }) => `${label} ${count(rows)}`);
  return `  ${parts.join(' · ')} of ${count(total)}: ${happening(status)}`;
}

function happening(status: Status): string {
  if (status.problem !== null) return `problem: ${status.problem}`;
  if (status.state !== 'active') return `the pipeline is ${status.state}: ${status.state_reason ?? ''}`;
  if (status.in_flight > 0) return `${counted(status.open_batches, 'batch', 'batches')} at the provider`;
  if (status.waiting > 0) return 'a chunk waits for the worker';
  if (status.retrying > 0) return `${counted(status.retrying, 'row')} failed and will be tried again`;
  if (status.pending > 0) return 'the trigger has queued the rows; the next tick forms a chunk';
  return status.enriched > 0 ? 'done' : 'importing';
}
