-- What an operator looks at: with estimates, reservations, what was spent, and why something waits.
-- Workers need not stop.

drop view rowmill.pipeline_status;
drop view rowmill.batch_status;

-- API: public
create view rowmill.batch_status with (security_invoker = true) as
select
  b.id as batch_id,
  p.name as pipeline,
  b.state,
  b.provider_status,
  b.provider_batch_id,
  b.model,
  b.pipeline_version as version,
  b.requests,
  b.rows,
  b.requests_completed,
  b.rows_enriched,
  b.rows_failed,
  b.rows_stale,
  b.rows_gone,
  b.lines_duplicate,
  b.lines_unknown,
  b.failed_by_class,
  b.estimated_input_tokens,
  coalesce(b.told_input_tokens, b.input_tokens) as input_tokens,
  coalesce(b.told_cached_tokens, b.cached_tokens) as cached_tokens,
  b.estimated_output_tokens,
  coalesce(b.told_output_tokens, b.output_tokens) as output_tokens,
  round(b.estimated_usd, 6) as estimated_usd,
  case when b.settled_at is null and b.reserved_usd is null then null else round(coalesce(b.reserved_usd, 0), 6) end as reserved_usd,
  round(case
    when b.settled_at is null then null
    when b.spent_usd is not null then b.spent_usd
    -- at today's price, where there was none when it was settled
    else rowmill.cost_usd(rowmill.price_of(b.model), coalesce(b.told_input_tokens, b.input_tokens),
      coalesce(b.told_cached_tokens, b.cached_tokens), coalesce(b.told_output_tokens, b.output_tokens))
  end, 6) as spent_usd,
  b.created_at,
  b.submitted_at,
  b.polled_at,
  b.ended_at,
  b.done_at,
  b.problem,
  b.provider_errors
from rowmill.batch_processing_details as b
join rowmill.pipelines as p on p.id = b.pipeline_id;
comment on view rowmill.batch_status is 'One row a batch: what was estimated, what is reserved while it runs, what it did use and cost. spent_usd is null until the batch is settled, and every sum in dollars where model_prices has no price for the model.';

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
  coalesce(b.cached_tokens, 0) as cached_tokens,
  coalesce(b.output_tokens, 0) as output_tokens,
  case when coalesce(b.unsettled, 0) = 0 then 0 else round(b.estimated_usd, 6) end as estimated_usd,
  case
    when coalesce(k.rows, 0) + coalesce(c.rows, 0) = 0 then 0
    else round((coalesce(k.rows, 0) + coalesce(c.rows, 0)) * (rowmill.history_of(p.id)).usd_per_request, 6)
  end as queued_usd,
  case when b.has_unknown_reservation then null else round(m.reserved_usd, 6) end as reserved_usd,
  round(m.spent_usd, 6) as spent_usd,
  p.budget_usd,
  p.daily_budget_usd,
  case when p.state = 'active' and coalesce(k.rows, 0) + coalesce(c.rows, 0) > 0
    then coalesce((rowmill.room_for(p.id)).reason, c.wait_reason)
    when p.state = 'paused' then coalesce(p.state_reason, 'It was paused by hand.')
  end as waiting_reason,
  case when l.pipeline_id is null then null else format('%s rows queued%s', l.rows_queued, case when l.finished_at is null then ', going on' else ', done' end) end as backfill
from rowmill.pipelines as p
left join lateral (
  select sum(k.row_count)::bigint as rows, min(k.queued_at) as oldest
  from rowmill.pending_keys as k
  where k.pipeline_id = p.id
) as k on true
left join lateral (
  select sum(c.row_count)::bigint as rows, min(c.formed_at) as oldest, (array_agg(c.wait_reason order by c.id) filter (where c.wait_reason is not null))[1] as wait_reason
  from rowmill.chunks as c
  where c.pipeline_id = p.id and c.state in ('waiting', 'accepted')
) as c on true
left join lateral (
  select
    sum(b.rows - b.rows_enriched - b.rows_failed - b.rows_stale - b.rows_gone) filter (where b.state in ('preparing', 'running', 'ended'))::bigint as in_flight,
    sum(b.rows_enriched)::bigint as enriched,
    sum(b.rows_stale)::bigint as stale,
    sum(b.rows_gone)::bigint as gone,
    count(*) filter (where b.state in ('preparing', 'running', 'ended', 'harvested')) as open_batches,
    count(*) filter (where b.provider_batch_id is not null) as batches,
    sum(coalesce(b.told_input_tokens, b.input_tokens))::bigint as input_tokens,
    sum(coalesce(b.told_cached_tokens, b.cached_tokens))::bigint as cached_tokens,
    sum(coalesce(b.told_output_tokens, b.output_tokens))::bigint as output_tokens,
    count(*) filter (where b.settled_at is null) as unsettled,
    case when bool_and(b.estimated_usd is not null) filter (where b.settled_at is null) then sum(b.estimated_usd) filter (where b.settled_at is null) end as estimated_usd,
    coalesce(bool_or(b.settled_at is null and b.reserved_usd is null), false) as has_unknown_reservation
  from rowmill.batch_processing_details as b
  where b.pipeline_id = p.id
) as b on true
left join lateral (
  select count(*) filter (where f.is_final) as failed, count(*) filter (where not f.is_final) as retrying
  from rowmill.failures as f
  where f.pipeline_id = p.id
) as f on true
left join rowmill.backfills as l on l.pipeline_id = p.id
cross join lateral rowmill.money_of(p.id) as m
where p.state <> 'dropped';
comment on view rowmill.pipeline_status is
  'One row a pipeline. pending: queued rows in no chunk; waiting: rows of chunks in no batch; in_flight: rows in batches without an outcome; enriched, stale, gone: answers written, refused since the row was edited, without a row; failed: rows in row_failures; retrying: failed and sent again. estimated_usd: what runs will cost; queued_usd: what waits will, at what a row of this pipeline cost before; reserved_usd: what runs may cost at most; each null where it cannot be known. waiting_reason: why nothing is sent.';

-- API: public
create or replace function rowmill.why(
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
comment on function rowmill.why(text, text) is 'Where a row is and what happened to it, in one row and in words. Raises RM111 (no such pipeline), RM109 (no such key), RM201 (the table is gone).';
revoke all on function rowmill.why(text, text) from public;
