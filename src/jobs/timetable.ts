import { createTask } from 'node-cron';
import { now } from '../moment.ts';

/** When a job is due: where its cron expression matches the wall's clock, or every so often whatever that shows. */
export type Occasions = { cron: string } | { everyMs: number };

export type Timetable = {
  isDue(): boolean;
  /** How long until it probably is; 0 or less where it is. */
  untilDueMs(): number;
  /** Goes on to the next occasion after this moment. */
  advance(): void;
  /** The longer of the pauses before the next occasion and the one after it. */
  periodMs(): number;
};

// The wall's clock may be slewed, and a timer be early: the steady clock speaks up where they differ by more than that.
const slackMs = 250;
const slackPart = 0.01;

/**
 * The occasions of one job. The wall's clock says when an expression matches. Where that was set back meanwhile, or stands
 * still, the job is due by the steady clock instead, as if it had not been: a run too many is harmless, none for an hour
 * is not.
 */
export function createTimetable(occasions: Occasions): Timetable {
  let dueWallMs = Number.POSITIVE_INFINITY;
  let dueSteadyMs = 0;
  let periodMs = 0;
  // Never started: it is asked for its matches alone.
  const task = 'cron' in occasions ? createTask(occasions.cron, () => {}) : null;

  function advance(): void {
    const { steadyMs, wallMs } = now();
    if ('everyMs' in occasions) {
      periodMs = occasions.everyMs;
      dueSteadyMs = steadyMs + periodMs;
      return;
    }
    const [next, afterNext] = task!.getNextRuns(2).map(Number) as [number, number];
    const waitMs = next - wallMs;
    periodMs = Math.max(waitMs, afterNext - next);
    dueWallMs = next;
    dueSteadyMs = steadyMs + waitMs * (1 + slackPart) + slackMs;
  }

  advance();
  return {
    isDue: () => Date.now() >= dueWallMs || performance.now() >= dueSteadyMs,
    untilDueMs: () => Math.min(dueWallMs - Date.now(), dueSteadyMs - performance.now()),
    advance,
    periodMs: () => periodMs,
  };
}
