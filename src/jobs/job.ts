export type RunOptions = {
  /** How many chunks or batches one run takes at the most. */
  limit: number;
  /** Aborted when the service stops: finish what is in hand and take nothing new. */
  signal: AbortSignal;
};

/** `more`: the limit was reached, so another run would find work at once. */
export type Counts = Record<string, number> & { more: number };
