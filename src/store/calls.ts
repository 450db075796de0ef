import type { ErrorClass } from '../pipeline/error-classes.ts';

export type ClaimStatus =
  | 'accepted'
  | 'known'
  | 'paused'
  | 'unknown_pipeline'
  | 'unknown_chunk'
  | 'foreign_rows';

export type ClaimedChunk = { chunk_id: number; pipeline_id: number; row_count: number };
export type StaleIntent = { batch_id: number; key: string; input_file_id: string | null; is_old: boolean };
export type DuePoll = { batch_id: number; provider_batch_id: string; cancel_asked: boolean };
export type EndedBatch = {
  batch_id: number;
  state: 'ended' | 'harvested';
  pipeline_id: number;
  pipeline_version: number;
  provider_status: string;
  provider_errors: { code: string | null; message: string; line: number | null }[] | null;
  input_file_id: string | null;
  output_file_id: string | null;
  error_file_id: string | null;
  output_position: number;
  error_position: number;
  keep_files: boolean;
};
export type TickCounts = { queued: number; formed: number; posted: number; released: number; more: boolean };

/** How a request failed, and what follows from it for its row. */
export type Verdict = {
  class: ErrorClass;
  code: string | null;
  message: string;
  retried: boolean;
  counted: boolean;
  delay_seconds?: number;
};
export type FailedRow = Verdict & { c: number; n: number; h: string };
/** `o0`, `o1` … are the outputs' values. */
export type AnsweredRow = { c: number; n: number; h: string } & Record<`o${number}`, unknown>;

export type Slice = {
  file: 'output' | 'error';
  from_position: number;
  to_position: number;
  answers: AnsweredRow[];
  failures: FailedRow[];
  unknown_lines: number;
  repeated_lines: number;
  input_tokens: number;
  cached_tokens: number;
  output_tokens: number;
};
export type SliceCounts = {
  enriched: number;
  stale: number;
  gone: number;
  failed: number;
  duplicate: number;
  unknown: number;
};

/** `started`: running now. `known`: it was. `stray`: its rows are elsewhere, it will be cancelled. `foreign`: the intent has another batch. */
export type StartResult = 'started' | 'known' | 'stray' | 'foreign';
/** A place of a chunk. */
export type Place = { c: number; n: number };

export type PollResult = {
  batch_id: number;
  provider_status: string;
  is_terminal: boolean;
  output_file_id: string | null;
  error_file_id: string | null;
  requests_completed: number;
  requests_failed: number;
  provider_errors: EndedBatch['provider_errors'];
};
