import type { BatchIntent } from '../../src/store/store.ts';

/** The intent of a batch over chunks of a pipeline's first version; a test changes what it is about. */
export function makeIntent(chunkIds: number[], changes: Partial<BatchIntent> = {}): BatchIntent {
  return {
    key: 'a key',
    chunk_ids: chunkIds,
    version: 1,
    requests: 3,
    bytes: 100,
    raw_input_tokens: 60,
    max_output_tokens: null,
    left_over: [],
    twins: [],
    ...changes,
  };
}
