/** A line of `rowmill.doctor()`, or of what this machine adds to it. */
export type Diagnosis = {
  check: string;
  verdict: 'ok' | 'note' | 'warning' | 'fault';
  found: string;
  /** null where it is ok. */
  remedy: string | null;
};
