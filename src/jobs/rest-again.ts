/**
 * How long a lane rests after something that gave trouble before and took so long: answers may be large, and in vain, and
 * lanes share the time alone, not the CPU.
 */
export function restAgainMs(tookMs: number): number {
  return Math.min(3 * tookMs, 5000);
}
