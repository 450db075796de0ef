-- API: public
create or replace view rowmill.pipeline_status with (security_invoker = true) as
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
  case
    when p.state = 'active' and coalesce(k.rows, 0) + coalesce(c.rows, 0) > 0
    then coalesce((rowmill.room_for(p.id)).reason, c.wait_reason)
    when p.state = 'paused' then coalesce(p.state_reason, 'It was paused by hand.')
  end as waiting_reason,
  case
    when l.pipeline_id is null then null
    else format('%s rows queued%s', l.rows_queued, case when l.finished_at is null then ', going on' else ', done' end)
  end as backfill
from rowmill.pipelines as p
left join lateral (
  select sum(k.row_count)::bigint as rows, min(k.queued_at) as oldest
  from rowmill.pending_keys as k
  where k.pipeline_id = p.id
) as k on true
left join lateral (
  select
    sum(c.row_count)::bigint as rows,
    min(c.formed_at) as oldest,
    (array_agg(c.wait_reason order by c.id) filter (where c.wait_reason is not null))[1] as wait_reason
  from rowmill.chunks as c
  where c.pipeline_id = p.id and c.state in ('waiting', 'accepted')
) as c on true
left join lateral (
  select
    sum(b.rows - b.rows_enriched - b.rows_failed - b.rows_stale - b.rows_gone)
      filter (where b.state in ('preparing', 'running', 'ended'))::bigint as in_flight,
    sum(b.rows_enriched)::bigint as enriched,
    sum(b.rows_stale)::bigint as stale,
    sum(b.rows_gone)::bigint as gone,
    count(*) filter (where b.state in ('preparing', 'running', 'ended', 'harvested')) as open_batches,
    count(*) filter (where b.provider_batch_id is not null) as batches,
    rowmill.clamped(sum(coalesce(b.reported_input_tokens, b.input_tokens)), 9e18) as input_tokens,
    rowmill.clamped(sum(coalesce(b.reported_cached_tokens, b.cached_tokens)), 9e18) as cached_tokens,
    rowmill.clamped(sum(coalesce(b.reported_output_tokens, b.output_tokens)), 9e18) as output_tokens,
    count(*) filter (where b.settled_at is null) as unsettled,
    case
      when bool_and(b.estimated_usd is not null) filter (where b.settled_at is null)
      then sum(b.estimated_usd) filter (where b.settled_at is null)
    end as estimated_usd,
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
  'One row a pipeline. pending: queued rows in no chunk; waiting: rows of chunks in no batch; '
  'in_flight: rows in batches without an outcome; '
  'enriched, stale, gone: answers written, refused since the row was edited, without a row; '
  'failed: rows in row_failures; retrying: failed and sent again. '
  'estimated_usd: what runs will cost; queued_usd: what waits will, at what a row of this pipeline cost before; '
  'reserved_usd: what runs may cost at most; each null where it cannot be known. '
  'waiting_reason: why nothing is sent.';
