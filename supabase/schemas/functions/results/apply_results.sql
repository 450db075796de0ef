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
  input_tokens bigint,
  cached_tokens bigint,
  output_tokens bigint,
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
  v_pipeline rowmill.pipelines;
  v_chunk_ids bigint[];
  v_answers jsonb := answers;
  v_failures jsonb := failures;
  v_counts jsonb := '{"enriched": 0, "stale": 0, "gone": 0, "failed": 0}'::jsonb;
  v_failed integer := 0;
  v_duplicate integer;
  v_unknown integer := 0;
begin
  select b.* into v_batch
  from rowmill.batch_processing_details as b
  where b.id = apply_results.batch_id and b.state = 'ended' and b.owner = apply_results.worker
  and case apply_results.file when 'output' then b.output_position when 'error' then b.error_position end = apply_results.from_position
  for update;
  if not found then
    return null;
  end if;
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = v_batch.pipeline_id;
  select array_agg(c.id) into v_chunk_ids from rowmill.chunks as c where c.batch_id = v_batch.id;
  if v_batch.has_twins then
    v_answers := rowmill.with_twins(v_answers, v_chunk_ids);
    v_failures := rowmill.with_twins(v_failures, v_chunk_ids);
  end if;

  if jsonb_array_length(v_answers) > 0 then
    perform set_config('rowmill.applying', v_pipeline.id::text, true);
    v_counts := rowmill.write_answers(
      v_batch, v_chunk_ids, v_answers,
      exists (select from rowmill.failures as f where f.pipeline_id = v_pipeline.id),
      rowmill.position_to_remember(v_pipeline.id, v_chunk_ids)
    );
    -- Not as a "set" of the function, which only a superuser may give a parameter of this kind.
    perform set_config('rowmill.applying', '', true);
  end if;
  if jsonb_array_length(v_failures) > 0 then
    v_failed := rowmill.settle_failures(v_pipeline.id, v_batch.id, (
      select coalesce(jsonb_agg(f.value), '[]')
      from jsonb_array_elements(v_failures) as f(value)
      where (f.value ->> 'c')::bigint = any (v_chunk_ids)
    ));
  end if;
  v_duplicate := jsonb_array_length(v_answers) + jsonb_array_length(v_failures) - v_failed
    - (v_counts ->> 'enriched')::integer - (v_counts ->> 'stale')::integer - (v_counts ->> 'gone')::integer - (v_counts ->> 'failed')::integer;
  if v_duplicate > 0 then
    -- Ids of other batches, or of no place in the chunk, are strangers; the rest came before.
    select count(*) into strict v_unknown
    from jsonb_to_recordset(v_answers || v_failures) as r(c bigint, n integer)
    where not exists (
      select from rowmill.chunks as c where c.id = r.c and c.batch_id = v_batch.id and r.n >= 0 and r.n < c.row_count
    );
    v_duplicate := v_duplicate - v_unknown;
  end if;

  update rowmill.batch_processing_details as b
  set
    output_position = case apply_results.file when 'output' then apply_results.to_position else b.output_position end,
    error_position = case apply_results.file when 'error' then apply_results.to_position else b.error_position end,
    rows_enriched = b.rows_enriched + (v_counts ->> 'enriched')::integer,
    rows_stale = b.rows_stale + (v_counts ->> 'stale')::integer,
    rows_gone = b.rows_gone + (v_counts ->> 'gone')::integer,
    rows_failed = b.rows_failed + v_failed + (v_counts ->> 'failed')::integer,
    lines_duplicate = b.lines_duplicate + v_duplicate + apply_results.repeated_lines,
    lines_unknown = b.lines_unknown + v_unknown + apply_results.unknown_lines,
    input_tokens = b.input_tokens + apply_results.input_tokens,
    cached_tokens = b.cached_tokens + apply_results.cached_tokens,
    output_tokens = b.output_tokens + apply_results.output_tokens,
    billed_requests = b.billed_requests + apply_results.billed_requests,
    problem = null,
    gone_since = null
  where b.id = v_batch.id;

  return v_counts || jsonb_build_object(
    'failed', v_failed + (v_counts ->> 'failed')::integer,
    'duplicate', v_duplicate + apply_results.repeated_lines,
    'unknown', v_unknown + apply_results.unknown_lines
  );
end;
$$;
comment on function rowmill.apply_results is
   'One slice of a result file: answers, failures, tokens and the position reached, in one transaction; rows that share a request share its outcome. null, and nothing changed, where the batch is not under this lease or the slice was applied before. Raises what is no row''s fault; the slice can then be tried again.';
revoke all on function rowmill.apply_results from public;
