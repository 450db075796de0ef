/**
 * No request and no batch uses so many tokens. Sums of a slice's lines stay exact below it, and Postgres can add up
 * thousands of such numbers.
 */
const highestCount = 1e15;

export type Usage = { inputTokens: number; cachedTokens: number; outputTokens: number };

/**
 * Takes the usage of an answer as chat completions, responses or a batch write it; returns it in one form,
 * or null where nothing was told: it is absent, or all zero. Each count is an integer from 0 to 1e15.
 */
export function normalizeUsage(wire: unknown): Usage | null {
  if (typeof wire !== 'object' || wire === null) return null;
  const usage = wire as Record<string, unknown>;
  const details = usage.prompt_tokens_details ?? usage.input_tokens_details;
  const inputTokens = toCount(usage.prompt_tokens ?? usage.input_tokens);
  const outputTokens = toCount(usage.completion_tokens ?? usage.output_tokens);
  const cachedTokens =
    typeof details === 'object' && details !== null
      ? toCount((details as Record<string, unknown>).cached_tokens)
      : 0;
  if (inputTokens === 0 && outputTokens === 0 && cachedTokens === 0) return null;
  return { inputTokens, cachedTokens, outputTokens };
}

/** Takes any number of usages, those that were not told among them; returns their sum with the same bounds, null where none was told. */
export function sumUsage(usages: Iterable<Usage | null>): Usage | null {
  let sum: Usage | null = null;
  for (const usage of usages) {
    if (usage === null) continue;
    sum ??= { inputTokens: 0, cachedTokens: 0, outputTokens: 0 };
    sum.inputTokens = Math.min(sum.inputTokens + usage.inputTokens, highestCount);
    sum.cachedTokens = Math.min(sum.cachedTokens + usage.cachedTokens, highestCount);
    sum.outputTokens = Math.min(sum.outputTokens + usage.outputTokens, highestCount);
  }
  return sum;
}

/** Token columns are integers: whatever is no count is 0. */
function toCount(value: unknown): number {
  return typeof value === 'number' && value > 0 ? Math.trunc(Math.min(value, highestCount)) : 0;
}
