import type { ErrorClass } from '../pipeline/error-classes.ts';

export type ClaimStatus =
  | 'accepted'
  | 'waits'
  | 'known'
  | 'paused'
  | 'unknown_pipeline'
  | 'unknown_chunk'
  | 'foreign_rows';

/** Chunks with the same `batch` are to travel in one. */
export type ClaimedChunk = { batch: number; chunk_id: number; pipeline_id: number; row_count: number };
/** `age_seconds`: since the intent was written, by the database's clock. */
export type StaleIntent = {
  batch_id: number;
  key: string;
  pipeline_id: number;
  input_file_id: string | null;
  is_old: boolean;
  age_seconds: number;
};
export type Sweep = { batch_id: number; key: string; age_seconds: number };
export type DuePoll = {
  batch_id: number;
  pipeline_id: number;
  provider_batch_id: string;
  cancel_asked: boolean;
};
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
  /** How often in a row its harvest broke off where it stands. */
  tries: number;
  requests: number;
  rows_enriched: number;
  /** Lines of its files so far that nobody asked for. */
  strange_lines: number;
};
export type TickCounts = { queued: number; formed: number; posted: number; released: number; more: boolean };

/** How a request failed, and what follows from it for its row. */
export type Verdict = {
  class: ErrorClass;
  code: string | null;
  message: string;
  retried: boolean;
  counted: boolean;
  /** false: it goes round again without a word, since it says nothing about the row. */
  noted?: boolean;
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
  /** Lines that told their usage. */
  billed_requests: number;
};
export type SliceCounts = {
  enriched: number;
  stale: number;
  gone: number;
  failed: number;
  duplicate: number;
  unknown: number;
};

/** `started`: running now. `known`: it was. `stray`: its rows are elsewhere, it will be cancelled. `foreign`: the intent has another batch. `taken`: another intent has this batch. */
export type StartResult = 'started' | 'known' | 'stray' | 'foreign' | 'taken';
/** What became of a webhook: see `rowmill.note_webhook`. */
export type WebhookResult = 'due' | 'known' | 'unknown';
/** A place of a chunk. */
export type Place = { c: number; n: number };

/** What the intent of a batch says: see `rowmill.begin_batch`. */
export type BatchIntent = {
  key: string;
  chunk_ids: number[];
  version: number;
  requests: number;
  bytes: number;
  raw_input_tokens: number;
  max_output_tokens: number | null;
  left_over: Place[];
  twins: (Place & { of: number })[];
};
export type BeginResult =
  | { status: 'begun'; batch_id: number }
  | { status: 'waits'; waits_for: string; reason: string; fits: number }
  | { status: 'altered' }
  | { status: 'lost' };
/** A chunk that waits for room, and what it takes up. */
export type HeldBackChunk = {
  c: number;
  requests: number;
  bytes: number;
  raw_input_tokens: number;
  max_output_tokens: number | null;
};
/** Why the provider took no batch; null: it did not say no. */
export type AbandonCause = 'tokens' | 'quota' | 'provider' | null;

export type PollResult = {
  batch_id: number;
  provider_status: string;
  is_terminal: boolean;
  output_file_id: string | null;
  error_file_id: string | null;
  requests_completed: number;
  requests_failed: number;
  provider_errors: EndedBatch['provider_errors'];
  /** null where the provider tells no usage. */
  input_tokens: number | null;
  cached_tokens: number | null;
  output_tokens: number | null;
};
