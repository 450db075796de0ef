import type { Deps } from '../deps.ts';
import { compileOutcome, type ReadOutcome } from '../pipeline/outcome.ts';
import { type OutputLimit, outputLimitOf } from '../pipeline/output-limit.ts';
import type { PipelineDefinition } from '../pipeline/pipeline.ts';
import { compileRequestLine, type WriteRequestLine } from '../pipeline/request-line.ts';
import { compileTokenEstimate } from '../pipeline/tokens.ts';

export type Compiled = {
  definition: PipelineDefinition;
  writeLine: WriteRequestLine;
  readOutcome: ReadOutcome;
  outputLimit: OutputLimit | null;
  tokens: ReturnType<typeof compileTokenEstimate>;
};

const cache = new Map<string, Compiled>();

/**
 * A version of a pipeline, the current one where none is said, with its prompt and schema compiled; null where
 * it is gone. The definition is asked for every time, the compiling is kept for as long as its text is the same.
 */
export async function loadPipeline(
  deps: Pick<Deps, 'store'>,
  pipelineId: number,
  version: number | null = null,
): Promise<Compiled | null> {
  const definition = await deps.store.getPipeline(pipelineId, version);
  if (!definition) return null;
  const text = JSON.stringify(definition);
  let compiled = cache.get(text);
  if (!compiled) {
    compiled = {
      definition,
      writeLine: compileRequestLine(definition),
      readOutcome: compileOutcome(definition),
      outputLimit: outputLimitOf(definition),
      tokens: compileTokenEstimate(definition),
    };
    if (cache.size >= 100) cache.clear();
    cache.set(text, compiled);
  }
  return compiled;
}
