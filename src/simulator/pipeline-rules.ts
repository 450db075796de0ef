import type { BatchObject } from './batch-object.ts';
import type { Occasions } from './occasions.ts';

/** The rules that are about a batch: those that name no pipeline, and those that name the one in its metadata. */
export function rulesOf(rules: Occasions[], batch: BatchObject | undefined): Occasions[] {
  if (!rules.some(({ rule }) => rule.pipeline !== undefined)) return rules;
  const pipeline = batch?.metadata?.rowmill_pipeline;
  return rules.filter(({ rule }) => rule.pipeline === undefined || rule.pipeline === pipeline);
}
