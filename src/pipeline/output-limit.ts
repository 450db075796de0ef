import type { PipelineDefinition } from './pipeline.ts';

/** The limit on the output tokens of each answer: the body's field for it, and the tokens. */
export type OutputLimit = { field: string; tokens: number };

const fields = {
  '/v1/chat/completions': ['max_completion_tokens', 'max_tokens'],
  '/v1/responses': ['max_output_tokens'],
} as const;

/**
 * Takes a pipeline; returns the limit that its params set, else the one that its budget demands (a request without a
 * limit has no highest price), else null.
 */
export function outputLimitOf(definition: PipelineDefinition): OutputLimit | null {
  const names = fields[definition.endpoint];
  for (const field of names) {
    const tokens = definition.params[field];
    if (typeof tokens === 'number' && tokens > 0) return { field, tokens };
  }
  return definition.output_cap === null ? null : { field: names[0], tokens: definition.output_cap };
}

/** Takes params; returns them with the limit in the place of their own, multiplied for an answer that was cut off. */
export function withOutputLimit(
  params: Record<string, unknown>,
  limit: OutputLimit | null,
  scale: number,
): Record<string, unknown> {
  return limit === null ? params : { ...params, [limit.field]: limit.tokens * scale };
}
