/** Hands out turns, one after the other in the order in which they are asked for. */
export function oneAtATime(): { turn(): Promise<() => void> } {
  let last = Promise.resolve();
  return {
    /** Resolves with what gives the turn back, once all that asked before have done so. */
    async turn() {
      const before = last;
      const { promise, resolve } = Promise.withResolvers<void>();
      last = promise;
      await before;
      return resolve;
    },
  };
}
