export type Usage = { inputTokens: number; cachedTokens: number; outputTokens: number };

/**
 * Takes the usage of an answer as chat completions, responses or a batch write it; returns it in one form,
 * or null where nothing was told: it is absent, or all zero.
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

/** Takes any number of usages, those that were not told among them; returns their sum, null where none was told. */
export function sumUsage(usages: Iterable<Usage | null>): Usage | null {
  let sum: Usage | null = null;
  for (const usage of usages) {
    if (usage === null) continue;
    sum ??= { inputTokens: 0, cachedTokens: 0, outputTokens: 0 };
    sum.inputTokens += usage.inputTokens;
    sum.cachedTokens += usage.cachedTokens;
    sum.outputTokens += usage.outputTokens;
  }
  return sum;
}

/** Token columns are integers: whatever is no count is 0. */
function toCount(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? Math.trunc(value) : 0;
}
