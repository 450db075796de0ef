-- What an operator looks at. Workers need not stop.

-- API: internal
create function rowmill.pipeline_problem(pipeline_id bigint)
returns text
language plpgsql
stable
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines;
  v_lost bigint;
  v_error record;
  v_structure text := rowmill.structure_problem(pipeline_id);
  v_missing text;
begin
  if v_structure is not null then
    return v_structure;
  end if;
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = pipeline_problem.pipeline_id;

  select string_agg(w.name, ', ' order by w.name) into v_missing
  from (values (format('rowmill_%s_insert', v_pipeline.id)), (format('rowmill_%s_update', v_pipeline.id))) as w(name)
  where not exists (
    select from pg_trigger as t where t.tgrelid = v_pipeline.source and t.tgname = w.name and t.tgenabled <> 'D'
  );
  if v_missing is not null then
    return format('trigger %s on %s is missing or disabled, so that rows are not queued; enable it, or drop_pipeline(%L) and create it again', v_missing, v_pipeline.source, v_pipeline.name);
  end if;

  select count(*) over () as times, e.sqlstate, e.message, e.happened_at, e.keys_lost into v_error
  from rowmill.trigger_errors as e
  where e.pipeline_id = v_pipeline.id
  order by e.keys_lost desc, e.happened_at desc
  limit 1;
  if found and v_error.keys_lost then
    return format('rows could not be queued, last at %s: %s (%s); mend it, then: select rowmill.backfill(%L, only_missing => true)',
      date_trunc('second', v_error.happened_at), v_error.message, v_error.sqlstate, v_pipeline.name);
  end if;
  return coalesce(v_pipeline.problem, case when v_error.message is not null then format('a chunk waits for the tick: %s (%s)', v_error.message, v_error.sqlstate) end);
end;
$$;
comment on function rowmill.pipeline_problem(bigint) is 'What is wrong with a pipeline now, and what to do, in words; null where nothing is.';
revoke all on function rowmill.pipeline_problem(bigint) from public;

-- API: public
create view rowmill.batch_status with (security_invoker = true) as
select
  b.id as batch_id,
  p.name as pipeline,
  b.state,
  b.provider_status,
  b.provider_batch_id,
  b.model,
  b.requests,
  b.requests_completed,
  b.rows_enriched,
  b.rows_failed,
  b.rows_stale,
  b.rows_gone,
  b.lines_duplicate,
  b.lines_unknown,
  b.input_tokens,
  b.cached_tokens,
  b.output_tokens,
  round((
    (b.input_tokens - b.cached_tokens) * m.input_usd + b.cached_tokens * m.cached_input_usd + b.output_tokens * m.output_usd
  ) * m.batch_share / 1000000, 6) as spent_usd,
  b.created_at,
  b.submitted_at,
  b.polled_at,
  b.ended_at,
  b.done_at,
  b.problem,
  b.provider_errors
from rowmill.batch_processing_details as b
join rowmill.pipelines as p on p.id = b.pipeline_id
left join rowmill.model_prices as m on m.model = b.model;
comment on view rowmill.batch_status is 'One row a batch. spent_usd is null where model_prices has no price for the model.';

-- API: public
create view rowmill.pipeline_status with (security_invoker = true) as
select
  p.name,
  p.source,
  p.state,
  p.state_reason,
  rowmill.pipeline_problem(p.id) as problem,
  coalesce(k.rows, 0) as pending,
  coalesce(c.rows, 0) as waiting,
  coalesce(b.in_flight, 0) as in_flight,
  coalesce(b.enriched, 0) as enriched,
  coalesce(f.failed, 0) as failed,
  coalesce(f.retrying, 0) as retrying,
  coalesce(b.stale, 0) as stale,
  coalesce(b.gone, 0) as gone,
  least(k.oldest, c.oldest) as oldest_waiting,
  coalesce(b.open_batches, 0) as open_batches,
  coalesce(b.batches, 0) as batches,
  coalesce(b.input_tokens, 0) as input_tokens,
  coalesce(b.output_tokens, 0) as output_tokens,
  b.spent_usd,
  case when l.pipeline_id is null then null else format('%s rows queued%s', l.rows_queued, case when l.finished_at is null then ', going on' else ', done' end) end as backfill
from rowmill.pipelines as p
left join lateral (
  select sum(k.row_count)::bigint as rows, min(k.queued_at) as oldest
  from rowmill.pending_keys as k
  where k.pipeline_id = p.id
) as k on true
left join lateral (
  select sum(c.row_count)::bigint as rows, min(c.formed_at) as oldest
  from rowmill.chunks as c
  where c.pipeline_id = p.id and c.state in ('waiting', 'accepted')
) as c on true
left join lateral (
  select
    sum(b.requests - b.rows_enriched - b.rows_failed - b.rows_stale - b.rows_gone) filter (where b.state in ('preparing', 'running', 'ended'))::bigint as in_flight,
    sum(b.rows_enriched)::bigint as enriched,
    sum(b.rows_stale)::bigint as stale,
    sum(b.rows_gone)::bigint as gone,
    count(*) filter (where b.state in ('preparing', 'running', 'ended', 'harvested')) as open_batches,
    count(*) filter (where b.provider_batch_id is not null) as batches,
    sum(b.input_tokens)::bigint as input_tokens,
    sum(b.output_tokens)::bigint as output_tokens,
    case when bool_and(s.spent_usd is not null) then sum(s.spent_usd) end as spent_usd
  from rowmill.batch_processing_details as b
  join rowmill.batch_status as s on s.batch_id = b.id
  where b.pipeline_id = p.id
) as b on true
left join lateral (
  select count(*) filter (where f.is_final) as failed, count(*) filter (where not f.is_final) as retrying
  from rowmill.failures as f
  where f.pipeline_id = p.id
) as f on true
left join rowmill.backfills as l on l.pipeline_id = p.id
where p.state <> 'dropped';
comment on view rowmill.pipeline_status is
  'One row a pipeline. pending: queued rows in no chunk; waiting: rows of chunks in no batch; in_flight: rows in batches without an outcome; enriched, stale, gone: answers written, refused since the row was edited, without a row; failed: rows in row_failures; retrying: failed and sent again. spent_usd is null while unknown.';

-- API: public
create view rowmill.row_failures with (security_invoker = true) as
select
  p.name as pipeline,
  f.key,
  f.error_class,
  f.code,
  f.message,
  f.attempts,
  f.batch_id,
  f.hash as input_hash,
  f.first_at,
  f.last_at
from rowmill.failures as f
join rowmill.pipelines as p on p.id = f.pipeline_id
where f.is_final and p.state <> 'dropped';
comment on view rowmill.row_failures is 'Rows that are not enriched and not tried again, each with its reason. key is the row''s primary key as a JSON array.';

-- API: public
create function rowmill.why(
  pipeline text,
  key text -- the primary key: 42, 'abc', or for several columns a JSON array, '[42, "abc"]'
)
returns table (state text, explanation text, chunk_id bigint, batch_id bigint, attempts integer)
language plpgsql
stable
set search_path = ''
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

  select c.id into v_found
  from rowmill.chunks as c
  where c.pipeline_id = v_pipeline.id and c.state in ('waiting', 'accepted')
  and exists (select from jsonb_array_elements(c.keys) as k(key) where k.key = v_key)
  limit 1;
  if found then
    return query select 'waiting', 'It is in a chunk that waits for a worker.', v_found, null::bigint, v_failure.attempts;
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
        when v_pipeline.state = 'paused' then 'It is queued; the pipeline is paused.'
        when v_failure.message is not null then format('It failed (%s: %s) and is queued again.', v_failure.error_class, v_failure.message)
        else format('It is queued; a chunk forms at %s rows or after %s.', v_pipeline.chunk_size, v_pipeline.flush_after)
      end,
      null::bigint, null::bigint, v_failure.attempts;
    return;
  end if;

  return query select
    case when v_failure.is_final then 'failed' when not v_missing then 'enriched' when not coalesce(v_selected, false) then 'not_selected' else 'unknown' end,
    case
      when v_failure.is_final then format('It failed: %s: %s', v_failure.error_class, v_failure.message)
      when not v_missing then 'Its outputs are filled, and nothing is under way.'
      when not coalesce(v_selected, false) then 'The filter leaves it out, or an input that another pipeline fills is still null.'
      else format('It was never queued, or its answer was null throughout; select rowmill.backfill(%L, only_missing => true) queues it.', v_pipeline.name)
    end,
    null::bigint, v_failure.batch_id, v_failure.attempts;
end;
$$;
comment on function rowmill.why(text, text) is 'Where a row is and what happened to it, in one row and in words. Raises RM111 (no such pipeline), RM109 (no such key), RM201 (the table is gone).';
revoke all on function rowmill.why(text, text) from public;
