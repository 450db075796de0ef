-- API: internal
create or replace function rowmill.history_of(pipeline_id bigint)
returns rowmill.usage_history
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select (
    -- Of a batch that broke off, the part that was executed.
    sum(h.input_tokens) / nullif(sum(h.raw_input_tokens::numeric * h.billed_requests / h.requests), 0),
    coalesce(
      sum(h.input_tokens)::numeric / nullif(sum(h.billed_requests), 0),
      (
        select sum(o.estimated_input_tokens)::numeric / nullif(sum(o.requests), 0)
        from rowmill.batch_processing_details as o
        where o.pipeline_id = history_of.pipeline_id and o.state in ('preparing', 'running', 'ended')
      )
    ),
    sum(h.output_tokens)::numeric / nullif(sum(h.billed_requests), 0),
    sum(h.spent_usd) / nullif(sum(h.billed_requests) filter (where h.spent_usd is not null), 0)
  )::rowmill.usage_history
  from (
    select
      b.requests, b.billed_requests, b.raw_input_tokens, b.spent_usd,
      coalesce(b.reported_input_tokens, b.input_tokens) as input_tokens,
      coalesce(b.reported_output_tokens, b.output_tokens) as output_tokens
    from rowmill.batch_processing_details as b
    where b.pipeline_id = history_of.pipeline_id
    and b.billed_requests > 0 and b.requests >= b.billed_requests and b.raw_input_tokens > 0
    and b.state in ('harvested', 'done')
    -- A prompt that was altered has a history of its own, once there is one.
    and b.pipeline_version = coalesce(
      (
        select c.pipeline_version
        from rowmill.batch_processing_details as c
        where c.pipeline_id = history_of.pipeline_id and c.billed_requests > 0 and c.raw_input_tokens > 0
        and c.state in ('harvested', 'done')
        order by c.id desc
        limit 1
      ), 1
    )
    order by b.id desc
    limit 20
  ) as h;
$$;
comment on function rowmill.history_of is
  'What the last twenty batches of a pipeline, of the latest version that has any, used.';
revoke all on function rowmill.history_of from public;
