/**
 * The lanes of what gave trouble before: answers may be large, and in vain, and lanes share the time alone, not the CPU.
 * So each rests after an item, three times as long as it took, and 5 s at the most.
 */
export const lanesAgain = { lanes: 2, restMs: (tookMs: number) => Math.min(3 * tookMs, 5000) };
