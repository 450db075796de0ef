-- API: internal
create or replace function rowmill.judge_batch(batch_id bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_batch rowmill.batch_processing_details;
  v_settings rowmill.settings;
  v_failed integer;
  v_passed integer;
  v_new integer;
  v_in_row integer;
  v_rows_in_row integer;
begin
  select b.* into strict v_batch from rowmill.batch_processing_details as b where b.id = judge_batch.batch_id;
  select s.* into strict v_settings from rowmill.settings as s;
  -- What ran out of time, was cancelled or was sent back for the sake of others says nothing about the rows or the prompt.
  select coalesce(sum(e.value::integer), 0) into strict v_failed
  from jsonb_each_text(v_batch.failed_by_class) as e
  where e.key not in ('batch_expired', 'batch_cancelled');
  v_passed := v_batch.rows_enriched + v_batch.rows_stale + v_batch.rows_gone;
  if v_failed + v_passed = 0 or v_batch.provider_status = 'failed' and v_failed < v_batch.rows then
    return;
  end if;
  if v_passed::numeric / (v_failed + v_passed) >= v_settings.breaker_pass_ratio then
    update rowmill.pipelines as p
    set failed_in_row = 0, rows_failed_in_row = 0
    where p.id = v_batch.pipeline_id and p.failed_in_row > 0;
    return;
  end if;
  select count(*) into strict v_new
  from rowmill.failures as f
  where f.pipeline_id = v_batch.pipeline_id and f.batch_id = v_batch.id and f.attempts <= 1
  and f.error_class not in ('batch_expired', 'batch_cancelled');
  -- Retries travel by themselves: that they fail again is news only where everything did.
  update rowmill.pipelines as p
  set failed_in_row = p.failed_in_row + 1, rows_failed_in_row = p.rows_failed_in_row + v_new
  where p.id = v_batch.pipeline_id and (v_new > 0 or p.failed_in_row > 0)
  returning p.failed_in_row, p.rows_failed_in_row into v_in_row, v_rows_in_row;
  if not found or v_in_row < v_settings.breaker_batches or v_rows_in_row < v_settings.breaker_rows then
    return;
  end if;
  perform rowmill.stop_pipeline(v_batch.pipeline_id,
    format('%s batches in a row failed, mostly with %s', v_in_row, rowmill.commonest_failure(v_batch.id)));
end;
$$;
comment on function rowmill.judge_batch is
  'The circuit breaker: counts batches in a row of which too many rows failed, '
  'and pauses the pipeline after settings.breaker_batches of them in which settings.breaker_rows different rows failed, '
  'with the commonest class as the reason.';
revoke all on function rowmill.judge_batch from public;
