import type { Deps } from '../deps.ts';
import { RowmillError } from '../errors.ts';
import { inTime } from '../in-time.ts';
import type { Counts, RunOptions } from './job.ts';

const atLeastEveryMs = 5000;
const patienceMs = 10_000;

/**
 * The heartbeat: renews the leases of what this worker has in hand, four times within a lease, so that one that fails
 * costs nothing. Called more often, it does nothing. A call that gets no answer is given up: a dead connection
 * must not keep the next one waiting, and what it held runs out by the clock.
 */
export function createRenewal(deps: Deps): (options: RunOptions) => Promise<Counts> {
  let lastMs = Number.NEGATIVE_INFINITY;
  return async (options) => {
    const everyMs = Math.min(atLeastEveryMs, (deps.store.leaseMs() ?? 0) / 4);
    // Not the wall's clock: that may be set back, and leases would wait for it.
    const startedMs = performance.now();
    if (options.signal.aborted || startedMs - lastMs < everyMs) return { more: 0 };
    await inTime(deps.store.renewLeases(), patienceMs, unanswered);
    lastMs = startedMs;
    return { more: 0 };
  };
}

function unanswered(): RowmillError {
  return new RowmillError(
    'database_unreachable',
    `The database has not answered for ${patienceMs / 1000} s; its leases are asked for again.`,
  );
}
