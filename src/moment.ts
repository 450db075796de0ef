/**
 * A point in time on two clocks: the steady one stands still while the machine is suspended, and the wall's can be set.
 */
export type Moment = { readonly steadyMs: number; readonly wallMs: number };

export function now(): Moment {
  return { steadyMs: performance.now(), wallMs: Date.now() };
}

/** How long ago that was, by the clock that says it was longer ago: for what must rather end too early than too late. */
export function msSince(moment: Moment): number {
  return Math.max(performance.now() - moment.steadyMs, Date.now() - moment.wallMs);
}
