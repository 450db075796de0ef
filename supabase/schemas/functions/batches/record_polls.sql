-- API: worker
create or replace function rowmill.record_polls(
  -- [{"batch_id", "provider_status", "is_terminal", "output_file_id", "error_file_id", "requests_completed", "requests_failed",
  --   "provider_errors", "input_tokens", "cached_tokens", "output_tokens"}]; tokens are null where the provider tells none.
  -- The counts are whatever the provider, or a proxy, wrote: one that is no number counts as not told.
  polls jsonb
)
returns table (batch_id bigint, state text)
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform rowmill.settle_dropped(record_polls.polls);
  return query
  update rowmill.batch_processing_details as b
  set
    provider_status = r.provider_status,
    output_file_id = r.output_file_id,
    error_file_id = r.error_file_id,
    requests_completed = coalesce(rowmill.count_or_null(r.requests_completed, most => 2147483647), b.requests_completed),
    requests_failed = coalesce(rowmill.count_or_null(r.requests_failed, most => 2147483647), b.requests_failed),
    provider_errors = nullif(r.provider_errors, 'null'),
    reported_input_tokens = rowmill.count_or_null(r.input_tokens),
    reported_cached_tokens = rowmill.count_or_null(r.cached_tokens),
    reported_output_tokens = rowmill.count_or_null(r.output_tokens),
    polled_at = now(),
    gone_since = null,
    problem = null,
    tries = 0,
    state = case
      when not r.is_terminal then b.state
      when b.settled_at is not null then 'harvested'
      else 'ended'
    end,
    ended_at = case when r.is_terminal then now() end
  from jsonb_to_recordset(record_polls.polls) as r(
    batch_id bigint, provider_status text, is_terminal boolean, output_file_id text, error_file_id text,
    requests_completed jsonb, requests_failed jsonb, provider_errors jsonb,
    input_tokens jsonb, cached_tokens jsonb, output_tokens jsonb
  )
  where b.id = r.batch_id and b.state = 'running'
  returning b.id, b.state;
end;
$$;
comment on function rowmill.record_polls is
  'What the provider said of running batches; in a terminal status they move on to ended. '
  'Returns the new state of each, and none for one that another worker moved first.';
revoke all on function rowmill.record_polls from public;
