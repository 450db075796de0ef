-- API: public
create or replace function rowmill.why(
  pipeline text,
  key text -- the primary key: 42, 'abc', or for several columns a JSON array, '[42, "abc"]'
)
returns table (state text, explanation text, chunk_id bigint, batch_id bigint, attempts integer)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- keys, as in the triggers
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_row record;
  v_failure rowmill.failures;
begin
  v_row := rowmill.row_with_key(v_pipeline, why.key);
  if v_row.key is null then
    return query select 'gone', format('There is no such row in %s.', v_pipeline.source), null::bigint, null::bigint, null::integer;
    return;
  end if;
  select f.* into v_failure
  from rowmill.failures as f
  where f.pipeline_id = v_pipeline.id and md5(f.key::text) = md5(v_row.key::text);

  return query
  select 'in_flight', w.explanation, w.chunk_id, w.batch_id, v_failure.attempts
  from rowmill.why_in_flight(v_pipeline.id, v_row.key) as w;
  if found then
    return;
  end if;
  return query
  select 'waiting', w.explanation, w.chunk_id, null::bigint, v_failure.attempts
  from rowmill.why_waiting(v_pipeline.id, v_row.key) as w;
  if found then
    return;
  end if;
  return query
  select 'pending', w.explanation, null::bigint, null::bigint, v_failure.attempts
  from rowmill.why_pending(v_pipeline, v_row.key, v_failure) as w(explanation)
  where w.explanation is not null;
  if found then
    return;
  end if;
  return query
  select w.state, w.explanation, null::bigint, v_failure.batch_id, v_failure.attempts
  from rowmill.why_over(v_pipeline, v_failure, v_row.is_selected, v_row.is_missing) as w;
end;
$$;
comment on function rowmill.why is
  'Where a row is and what happened to it, in one row and in words. '
  'Raises RM111 (no such pipeline), RM109 (no such key), RM201 (the table is gone).';
revoke all on function rowmill.why from public;
