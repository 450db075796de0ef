/**
 * No run takes that long by itself: what it takes is limited, and so is each of its calls and downloads. One that does
 * waits for something that will not come, and its job does not run meanwhile.
 */
const longestRunMs = 30 * 60_000;
const periodsWithoutRun = 3;

export type RunWatch = {
  began(): void;
  ended(): void;
  /** null, or what is wrong with a job of that period. */
  problem(periodMs: number): string | null;
};

/** Notes the runs of one job by the steady clock, and whether they come and end. */
export function watchRuns(name: string): RunWatch {
  let isRunning = false;
  let sinceMs = performance.now();
  const turn = (runs: boolean) => {
    isRunning = runs;
    sinceMs = performance.now();
  };
  return {
    began: () => turn(true),
    ended: () => turn(false),
    problem(periodMs) {
      const forMs = performance.now() - sinceMs;
      if (isRunning) {
        return forMs > longestRunMs
          ? `${name} has been running for ${Math.round(forMs / 60_000)} minutes`
          : null;
      }
      return forMs > periodsWithoutRun * periodMs
        ? `${name} has not run for ${Math.round(forMs / 1000)} s`
        : null;
    },
  };
}
