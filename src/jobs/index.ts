import type { Config } from '../config.ts';
import type { Deps } from '../deps.ts';
import type { Submission } from '../submission/submission.ts';
import * as harvest from './harvest.ts';
import * as poll from './poll.ts';
import * as recover from './recover.ts';
import { createRenewal } from './renew.ts';
import { type Schedule, startSchedule } from './schedule.ts';
import { inSpareTime } from './spare-time.ts';
import * as submit from './submit.ts';
import * as sweep from './sweep.ts';
import * as tick from './tick.ts';

/** The schedule: which job runs when, how much it takes at a time, and whom it wakes. */
export function startJobs(
  deps: Deps & { submission: Submission },
  config: Pick<Config, 'ROWMILL_TICK_CRON' | 'ROWMILL_POLL_CRON'>,
  signal: AbortSignal,
): Schedule {
  return startSchedule(
    [
      {
        name: 'renew',
        // Not for an operator to slow down, nor for a clock that is set: leases would run out. It looks every second
        // whether it is time.
        everyMs: 1000,
        limit: 0,
        run: createRenewal(deps),
      },
      {
        name: 'tick',
        cron: config.ROWMILL_TICK_CRON,
        limit: 20,
        run: (options) => tick.runOnce(deps, options),
        wakes: (counts) => ((counts.formed ?? 0) > 0 ? ['submit'] : []),
      },
      {
        name: 'submit',
        cron: config.ROWMILL_TICK_CRON,
        limit: 8,
        run: (options) => submit.runOnce(deps, options),
      },
      {
        // Apart from submit: a long list of the provider's keeps no chunk from being sent.
        name: 'recover',
        cron: config.ROWMILL_TICK_CRON,
        // One reading of the list answers for all of them.
        limit: 200,
        run: inSpareTime((options) => recover.runOnce(deps, options)),
        wakes: (counts) => ((counts.recovered ?? 0) > 0 ? ['poll'] : []),
      },
      {
        name: 'poll',
        cron: config.ROWMILL_POLL_CRON,
        limit: 10_000,
        run: (options) => poll.runOnce(deps, { ...options, again: false }),
        // What ended makes room in the provider's queue, and what is harvested in a budget.
        wakes: (counts) => ((counts.ended ?? 0) > 0 ? ['harvest', 'submit'] : []),
      },
      {
        name: 'harvest',
        cron: config.ROWMILL_POLL_CRON,
        limit: 100,
        run: (options) => harvest.runOnce(deps, { ...options, again: false }),
        wakes: (counts) => ((counts.harvested ?? 0) > 0 ? ['submit'] : []),
      },
      // Batches that gave trouble have jobs of their own: they may take as long as they like.
      {
        name: 'poll_again',
        cron: config.ROWMILL_POLL_CRON,
        limit: 100,
        run: (options) => poll.runOnce(deps, { ...options, again: true }),
        wakes: (counts) => ((counts.ended ?? 0) > 0 ? ['harvest', 'submit'] : []),
      },
      {
        name: 'harvest_again',
        cron: config.ROWMILL_POLL_CRON,
        limit: 20,
        run: (options) => harvest.runOnce(deps, { ...options, again: true }),
        wakes: (counts) => ((counts.harvested ?? 0) > 0 ? ['submit'] : []),
      },
      {
        name: 'sweep',
        cron: config.ROWMILL_POLL_CRON,
        limit: 1000,
        run: inSpareTime((options) => sweep.runOnce(deps, options)),
      },
    ],
    { logger: deps.logger, metrics: deps.metrics, signal },
  );
}
