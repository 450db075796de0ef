-- API: internal
create or replace function rowmill.money_of(
  pipeline_id bigint, -- null: all of them
  day date default null -- null: ever
)
returns rowmill.money
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select (
    coalesce(sum(m.reserved_usd), 0),
    -- One that is unknown makes the sum unknown.
    case when bool_and(m.spent_usd is not null) is not false then coalesce(sum(m.spent_usd), 0) end
  )::rowmill.money
  from (
    select s.reserved_usd, s.spent_usd
    from rowmill.spending as s
    where (money_of.pipeline_id is null or s.pipeline_id = money_of.pipeline_id)
    and (money_of.day is null or s.day = money_of.day)
    union all
    -- Submitted before the model had a price: at today's, if it has one now.
    select
      case when b.settled_at is null then rowmill.cost_usd(p.price, b.reserved_tokens, 0, b.estimated_output_tokens) end,
      case when b.settled_at is null then 0 else rowmill.cost_usd(p.price, coalesce(b.reported_input_tokens, b.input_tokens),
        coalesce(b.reported_cached_tokens, b.cached_tokens), coalesce(b.reported_output_tokens, b.output_tokens)) end
    from rowmill.batch_processing_details as b
    cross join lateral (select rowmill.price_of(b.model) as price) as p
    where b.price is null and b.state not in ('rejected', 'abandoned')
    and (money_of.pipeline_id is null or b.pipeline_id = money_of.pipeline_id)
    and (money_of.day is null or b.reserved_on = money_of.day)
  ) as m;
$$;
comment on function rowmill.money_of is
  'What is reserved and spent, of a pipeline or of all, ever or on one day (UTC). spent_usd is null where a batch''s price is not known.';
revoke all on function rowmill.money_of from public;
