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
  v_parts rowmill.source_parts := rowmill.source_parts_of(v_pipeline.id);
  v_given jsonb;
  v_key jsonb;
  v_selected boolean;
  v_missing boolean;
  v_held record;
  v_failure rowmill.failures;
  v_found bigint;
  v_reason text;
begin
  if cardinality(v_pipeline.key_columns) = 1 then
    begin
      v_given := why.key::jsonb;
      if jsonb_typeof(v_given) <> 'array' or jsonb_array_length(v_given) <> 1 then
        v_given := jsonb_build_array(why.key);
      end if;
    exception when data_exception then
      v_given := jsonb_build_array(why.key);
    end;
  else
    begin
      v_given := why.key::jsonb;
    exception when data_exception then
      v_given := null;
    end;
    if v_given is null or jsonb_typeof(v_given) <> 'array' or jsonb_array_length(v_given) <> cardinality(v_pipeline.key_columns) then
      raise exception using errcode = 'RM109', message = format('the key of %s has %s columns', v_pipeline.source, cardinality(v_pipeline.key_columns)),
        detail = format('key is %L.', why.key), hint = 'Give a JSON array in the order of the primary key, e.g. ''[42, "abc"]''.';
    end if;
  end if;

  begin
    execute format('select %1$s, %2$s, %3$s from (select $1 as key) as k join %4$s as s on %5$s',
      v_parts.key_value, v_parts.selected, v_parts.missing, v_parts.relation, v_parts.key_match)
    into v_key, v_selected, v_missing
    using v_given;
  exception when data_exception then
    raise exception using errcode = 'RM109', message = format('that is no key of %s', v_pipeline.source),
      detail = sqlerrm, hint = format('Its primary key is (%s).', rowmill.trigger_names_of(v_pipeline.id));
  end;
  if v_key is null then
    return query select 'gone', format('There is no such row in %s.', v_pipeline.source), null::bigint, null::bigint, null::integer;
    return;
  end if;

  select f.* into v_failure from rowmill.failures as f where f.pipeline_id = v_pipeline.id and md5(f.key::text) = md5(v_key::text);

  select r.chunk_id, c.batch_id, c.state, b.state as batch_state, b.provider_status, b.submitted_at into v_held
  from rowmill.chunk_rows as r
  join rowmill.chunks as c on c.id = r.chunk_id
  left join rowmill.batch_processing_details as b on b.id = c.batch_id
  where r.pipeline_id = v_pipeline.id and md5(r.key::text) = md5(v_key::text)
  order by r.chunk_id desc
  limit 1;
  if found then
    return query select 'in_flight',
      case
        when v_held.batch_id is null then 'A worker is preparing its batch.'
        when v_held.batch_state = 'preparing' then 'Its batch is being created at the provider.'
        when v_held.batch_state = 'running' then format('Its batch runs since %s (%s).', date_trunc('second', v_held.submitted_at), v_held.provider_status)
        else 'Its batch has ended; the answer is being read.'
      end,
      v_held.chunk_id, v_held.batch_id, v_failure.attempts;
    return;
  end if;

  select c.id, c.wait_reason into v_found, v_reason
  from rowmill.chunks as c
  where c.pipeline_id = v_pipeline.id and c.state in ('waiting', 'accepted')
  and exists (select from jsonb_array_elements(c.keys) as k(key) where k.key = v_key)
  limit 1;
  if found then
    v_reason := coalesce((rowmill.room_for(v_pipeline.id)).reason, v_reason);
    return query select 'waiting',
      case when v_reason is null then 'It is in a chunk that waits for a worker.' else format('It is in a chunk that waits for room. %s', v_reason) end,
      v_found, null::bigint, v_failure.attempts;
    return;
  end if;

  select p.id into v_found
  from rowmill.pending_keys as p
  where p.pipeline_id = v_pipeline.id
  and exists (select from jsonb_array_elements(p.keys) as k(key) where k.key = v_key)
  limit 1;
  if found then
    return query select 'pending',
      case
        when v_pipeline.state = 'paused' then format('It is queued; the pipeline is paused. %s', coalesce(v_pipeline.state_reason, 'resume_pipeline goes on.'))
        when v_failure.attempts = 0 then format('It was sent in vain, which was no attempt (%s: %s), and is queued again.',
          v_failure.error_class, v_failure.message)
        when v_failure.message is not null then format('It failed at its attempt %s of %s (%s: %s) and is queued again.',
          v_failure.attempts, v_pipeline.max_attempts, v_failure.error_class, v_failure.message)
        else format('It is queued; a chunk forms at %s rows or after %s.', v_pipeline.chunk_size, v_pipeline.flush_after)
      end,
      null::bigint, null::bigint, v_failure.attempts;
    return;
  end if;

  return query select
    case when v_failure.is_final then 'failed' when not v_missing then 'enriched' when not coalesce(v_selected, false) then 'not_selected' else 'unknown' end,
    case
      when v_failure.is_final then format('It failed after %s, last at %s: %s: %s An edit of the row, or select rowmill.retry_failed(%L, %L), tries it again.',
        case v_failure.attempts when 1 then 'one attempt' else v_failure.attempts || ' attempts' end, date_trunc('second', v_failure.last_at), v_failure.error_class, rtrim(v_failure.message, '.') || '.', v_pipeline.name, v_failure.error_class)
      when not v_missing then 'Its outputs are filled, and nothing is under way.'
      when not coalesce(v_selected, false) then 'The filter leaves it out, or an input that another pipeline fills is still null.'
      else format('It was never queued, or its answer was null throughout; select rowmill.backfill(%L, only_missing => true) queues it.', v_pipeline.name)
    end,
    null::bigint, v_failure.batch_id, v_failure.attempts;
end;
$$;
comment on function rowmill.why is
  'Where a row is and what happened to it, in one row and in words. Raises RM111 (no such pipeline), RM109 (no such key), RM201 (the table is gone).';
revoke all on function rowmill.why from public;
