-- API: worker
create or replace function rowmill.apply_results(
  batch_id bigint,
  worker text,
  file text, -- 'output' or 'error'
  from_position bigint, -- bytes of the file that were applied before this slice
  to_position bigint, -- and after it
  answers jsonb, -- [{"c": chunk, "n", "h": hash, "o0": value, …}], o<i> for the i-th output; no row twice
  failures jsonb, -- [{"c", "n", "h", "class", "code", "message", "retried", "counted"}]; no row twice
  unknown_lines integer, -- lines whose custom_id is not of this batch
  repeated_lines integer, -- lines of a row that this slice holds already
  input_tokens numeric, -- what the lines say, however absurd
  cached_tokens numeric,
  output_tokens numeric,
  billed_requests integer -- lines that told their usage
)
returns jsonb
language plpgsql
security definer -- the worker has no rights on the source table
set search_path = pg_catalog, pg_temp
-- Shorter than deadlock_timeout (1 s): where a slice and a user's statement wait for each other, the slice gives
-- way before Postgres looks for a victim, and is applied later.
set lock_timeout = '500ms'
-- The hash of an input must be the one that read_chunk made.
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
  v_batch rowmill.batch_processing_details;
  v_counts jsonb;
begin
  select b.* into v_batch
  from rowmill.batch_processing_details as b
  where b.id = apply_results.batch_id and b.state = 'ended' and b.owner = apply_results.worker
  and case apply_results.file when 'output' then b.output_position when 'error' then b.error_position end = apply_results.from_position
  for update;
  if not found then
    return null;
  end if;

  v_counts := rowmill.apply_slice(v_batch, apply_results.answers, apply_results.failures);
  v_counts := v_counts || jsonb_build_object(
    'duplicate', (v_counts ->> 'duplicate')::integer + apply_results.repeated_lines,
    'unknown', (v_counts ->> 'unknown')::integer + apply_results.unknown_lines
  );

  update rowmill.batch_processing_details as b
  set
    output_position = case apply_results.file when 'output' then apply_results.to_position else b.output_position end,
    error_position = case apply_results.file when 'error' then apply_results.to_position else b.error_position end,
    rows_enriched = b.rows_enriched + (v_counts ->> 'enriched')::integer,
    rows_stale = b.rows_stale + (v_counts ->> 'stale')::integer,
    rows_gone = b.rows_gone + (v_counts ->> 'gone')::integer,
    rows_failed = b.rows_failed + (v_counts ->> 'failed')::integer,
    lines_duplicate = b.lines_duplicate + (v_counts ->> 'duplicate')::bigint,
    lines_unknown = b.lines_unknown + (v_counts ->> 'unknown')::bigint,
    input_tokens = rowmill.clamped(b.input_tokens + coalesce(rowmill.clamped(apply_results.input_tokens), 0)),
    cached_tokens = rowmill.clamped(b.cached_tokens + coalesce(rowmill.clamped(apply_results.cached_tokens), 0)),
    output_tokens = rowmill.clamped(b.output_tokens + coalesce(rowmill.clamped(apply_results.output_tokens), 0)),
    billed_requests = b.billed_requests + apply_results.billed_requests,
    problem = null,
    gone_since = null,
    tries = 0
  where b.id = v_batch.id;
  return v_counts;
end;
$$;
comment on function rowmill.apply_results is
  'One slice of a result file: answers, failures, tokens and the position reached, in one transaction; rows that share a request '
  'share its outcome. null, and nothing changed, where the batch is not under this lease or the slice was applied before. Raises '
  'what is no row''s fault; the slice can then be tried again.';
revoke all on function rowmill.apply_results from public;
