-- API: public
create or replace view rowmill.batch_status with (security_invoker = true) as
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
  coalesce(b.reported_input_tokens, b.input_tokens) as input_tokens,
  coalesce(b.reported_cached_tokens, b.cached_tokens) as cached_tokens,
  b.estimated_output_tokens,
  coalesce(b.reported_output_tokens, b.output_tokens) as output_tokens,
  round(b.estimated_usd, 6) as estimated_usd,
  case when b.settled_at is null and b.reserved_usd is null then null else round(coalesce(b.reserved_usd, 0), 6) end as reserved_usd,
  round(case
    when b.settled_at is null then null
    when b.spent_usd is not null then b.spent_usd
    -- at today's price, where there was none when it was settled
    else rowmill.cost_usd(rowmill.price_of(b.model), coalesce(b.reported_input_tokens, b.input_tokens),
      coalesce(b.reported_cached_tokens, b.cached_tokens), coalesce(b.reported_output_tokens, b.output_tokens))
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
comment on view rowmill.batch_status is
  'One row a batch: what was estimated, what is reserved while it runs, what it did use and cost. '
  'spent_usd is null until the batch is settled, and every sum in dollars where model_prices has no price for the model.';
