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

/** What the compiling came to: a schema that cannot be used may have taken two seconds to refuse. */
type Attempt = { compiled: Compiled } | { error: unknown };

const mostKept = 100;
/** By the definition's text, the one that was asked for last at the end. */
const kept = new Map<string, Attempt>();

/**
 * A version of a pipeline, the current one where none is said, with its prompt and schema compiled; null where
 * it is gone. The definition is asked for every time; the compiling, and what it raised, is kept for as long as its text is
 * the same.
 */
export async function loadPipeline(
  deps: Pick<Deps, 'store'>,
  pipelineId: number,
  version: number | null = null,
): Promise<Compiled | null> {
  const definition = await deps.store.getPipeline(pipelineId, version);
  if (!definition) return null;
  const text = JSON.stringify(definition);
  const attempt = kept.get(text) ?? compile(definition);
  kept.delete(text);
  kept.set(text, attempt);
  if (kept.size > mostKept) kept.delete(kept.keys().next().value!);
  if ('error' in attempt) throw attempt.error;
  return attempt.compiled;
}

function compile(definition: PipelineDefinition): Attempt {
  try {
    return {
      compiled: {
        definition,
        writeLine: compileRequestLine(definition),
        readOutcome: compileOutcome(definition),
        outputLimit: outputLimitOf(definition),
        tokens: compileTokenEstimate(definition),
      },
    };
  } catch (error) {
    return { error };
  }
}
