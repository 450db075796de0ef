-- API: worker
create or replace function rowmill.record_polls(
  -- [{"batch_id", "provider_status", "is_terminal", "output_file_id", "error_file_id", "requests_completed", "requests_failed",
  --   "provider_errors", "input_tokens", "cached_tokens", "output_tokens"}]; tokens are null where the provider tells none
  polls jsonb
)
returns table (batch_id bigint, state text)
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_dropped bigint;
begin
  -- Nobody waits for the answers of a dropped pipeline: what they cost is settled here, and only files are left to delete.
  for v_dropped in
    select b.id
    from jsonb_to_recordset(record_polls.polls) as r(batch_id bigint, is_terminal boolean)
    join rowmill.batch_processing_details as b on b.id = r.batch_id and b.state = 'running'
    join rowmill.pipelines as p on p.id = b.pipeline_id and p.state = 'dropped'
    where r.is_terminal
    order by b.id
    for update of b
  loop
    update rowmill.batch_processing_details as b
    set provider_status = r.provider_status, reported_input_tokens = r.input_tokens, reported_cached_tokens = r.cached_tokens, reported_output_tokens = r.output_tokens
    from jsonb_to_recordset(record_polls.polls) as r(batch_id bigint, provider_status text, input_tokens bigint, cached_tokens bigint, output_tokens bigint)
    where b.id = v_dropped and r.batch_id = b.id;
    perform rowmill.settle_money(v_dropped);
  end loop;

  return query
  update rowmill.batch_processing_details as b
  set
    provider_status = r.provider_status,
    output_file_id = r.output_file_id,
    error_file_id = r.error_file_id,
    requests_completed = r.requests_completed,
    requests_failed = r.requests_failed,
    provider_errors = nullif(r.provider_errors, 'null'),
    reported_input_tokens = r.input_tokens,
    reported_cached_tokens = r.cached_tokens,
    reported_output_tokens = r.output_tokens,
    polled_at = now(),
    gone_since = null,
    problem = null,
    state = case
      when not r.is_terminal then b.state
      when b.settled_at is not null then 'harvested'
      else 'ended'
    end,
    ended_at = case when r.is_terminal then now() end
  from jsonb_to_recordset(record_polls.polls) as r(
    batch_id bigint, provider_status text, is_terminal boolean, output_file_id text, error_file_id text,
    requests_completed integer, requests_failed integer, provider_errors jsonb,
    input_tokens bigint, cached_tokens bigint, output_tokens bigint
  )
  where b.id = r.batch_id and b.state = 'running'
  returning b.id, b.state;
end;
$$;
comment on function rowmill.record_polls is
   'What the provider said of running batches; in a terminal status they move on to ended. Returns the new state of each, and none for one that another worker moved first.';
revoke all on function rowmill.record_polls from public;
