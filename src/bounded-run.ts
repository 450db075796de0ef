import { Script } from 'node:vm';

// A timeout of node:vm holds for a script alone, and a script sees what is global alone.
const slot = Symbol.for('rowmill.boundedRun');
const script = new Script("globalThis[Symbol.for('rowmill.boundedRun')]()");
const holder = globalThis as { [slot]?: () => unknown };

/** How often a run that got no processor is repeated before it counts as one that takes too long. */
const starvedRuns = 2;

/**
 * Runs synchronous code for at most `ms`; returns whether it came to its end. Raises what `run` raises.
 * It is interrupted where it stands, between any two steps and without its `finally`, and may be called once more from its
 * beginning: it keeps what it has in variables of its caller, and adds to them what is done. Loops, recursion and regular
 * expressions are interrupted; one call of a function of the engine (JSON.parse) goes on to its end.
 * A call costs half a millisecond, for a thread that watches. A run within a run is allowed.
 */
export function boundedRun(ms: number, run: () => void): boolean {
  const outer = holder[slot];
  holder[slot] = run;
  try {
    for (let starved = 0; ; starved += 1) {
      const before = process.threadCpuUsage();
      if (endsInTime(ms)) return true;
      const { user, system } = process.threadCpuUsage(before);
      // The clock runs on while the process is throttled or stopped; that is no fault of what runs.
      if (starved === starvedRuns || (user + system) / 1000 > ms / 2) return false;
    }
  } finally {
    if (outer === undefined) delete holder[slot];
    else holder[slot] = outer;
  }
}

function endsInTime(timeout: number): boolean {
  try {
    script.runInThisContext({ timeout, displayErrors: false });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException | null)?.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') return false;
    throw error;
  }
}
