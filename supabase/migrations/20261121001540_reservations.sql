-- What a batch is expected to cost, what it may cost at most, and what it did cost. Reserved with the intent, settled
-- with the harvest; the sum of both stands in one row for each pipeline and day, so that a budget is one look.
-- Workers must stop: an older one calls begin_batch without an estimate.

alter table rowmill.batch_processing_details
  add column rows integer not null default 0,
  add column raw_input_tokens bigint,
  add column estimated_input_tokens bigint,
  add column estimated_output_tokens bigint,
  add column reserved_tokens bigint,
  add column price rowmill.model_prices,
  add column estimated_usd numeric,
  add column reserved_usd numeric,
  add column spent_usd numeric,
  add column reserved_on date,
  add column settled_at timestamptz,
  add column billed_requests integer not null default 0,
  add column told_input_tokens bigint,
  add column told_cached_tokens bigint,
  add column told_output_tokens bigint,
  add column failed_by_class jsonb not null default '{}',
  add column has_twins boolean not null default false;
update rowmill.batch_processing_details set rows = requests, reserved_on = (created_at at time zone 'UTC')::date;
update rowmill.batch_processing_details as b
set
  settled_at = coalesce(b.done_at, b.ended_at),
  billed_requests = case when b.input_tokens > 0 then b.rows_enriched + b.rows_stale + b.rows_gone else 0 end,
  price = rowmill.price_of(b.model)
where b.state in ('harvested', 'done', 'rejected', 'abandoned');
update rowmill.batch_processing_details as b
set spent_usd = rowmill.cost_usd(b.price, b.input_tokens, b.cached_tokens, b.output_tokens)
where b.settled_at is not null;
alter table rowmill.batch_processing_details
  alter column reserved_on set default (now() at time zone 'UTC')::date,
  alter column reserved_on set not null,
  add constraint batches_settled_when_over check (state not in ('harvested', 'done', 'rejected', 'abandoned') or settled_at is not null);
comment on column rowmill.batch_processing_details.requests is 'Lines of its file. Rows with the same input share one.';
comment on column rowmill.batch_processing_details.rows is 'Rows that wait for it.';
comment on column rowmill.batch_processing_details.raw_input_tokens is 'Input tokens by the tokenizer, before what the pipeline''s history says about it.';
comment on column rowmill.batch_processing_details.estimated_output_tokens is 'null: neither the history nor a limit says.';
comment on column rowmill.batch_processing_details.reserved_tokens is 'Input tokens that count against the model''s queue at the provider.';
comment on column rowmill.batch_processing_details.price is 'What the model cost when the batch was submitted; null: nobody knew.';
comment on column rowmill.batch_processing_details.reserved_usd is 'What it may cost at most; 0 once it is settled, null where it cannot be known.';
comment on column rowmill.batch_processing_details.spent_usd is 'What it did cost; null until it is settled, and where no price is known.';
comment on column rowmill.batch_processing_details.reserved_on is 'The day (UTC) that its cost belongs to.';
comment on column rowmill.batch_processing_details.billed_requests is 'Lines whose usage the provider told.';
comment on column rowmill.batch_processing_details.told_input_tokens is 'Usage of the whole batch as the provider tells it; null: it does not. Settled by this, else by the sum of the lines.';
comment on column rowmill.batch_processing_details.failed_by_class is 'How many of its rows failed, by error class.';
comment on column rowmill.batch_processing_details.has_twins is 'Whether rows of it share a request.';

create index batches_in_queue on rowmill.batch_processing_details (model) where state in ('preparing', 'running');
create index batches_by_creation on rowmill.batch_processing_details (created_at);
create index batches_history on rowmill.batch_processing_details (pipeline_id, id) where billed_requests > 0;
create index batches_unpriced on rowmill.batch_processing_details (pipeline_id)
  where price is null and state not in ('rejected', 'abandoned');

create table rowmill.spending (
  pipeline_id bigint not null references rowmill.pipelines (id),
  day date not null,
  reserved_usd numeric not null default 0,
  spent_usd numeric not null default 0,
  primary key (pipeline_id, day)
);
alter table rowmill.spending enable row level security;
comment on table rowmill.spending is 'Reserved and spent US dollars by pipeline and day (UTC) of submission: the sums over batch_processing_details, kept with them in the same transactions. Batches without a price are not in it.';
insert into rowmill.spending (pipeline_id, day, spent_usd)
select b.pipeline_id, b.reserved_on, sum(b.spent_usd)
from rowmill.batch_processing_details as b
where b.spent_usd is not null
group by b.pipeline_id, b.reserved_on;

create type rowmill.usage_history as (
  input_factor numeric, -- input tokens that the provider told, by those of the tokenizer
  tokens_per_request numeric, -- input, expected
  output_per_request numeric,
  usd_per_request numeric
);
comment on type rowmill.usage_history is 'What a pipeline''s last batches teach about the next; each null where they do not tell.';

-- API: internal
create function rowmill.history_of(pipeline_id bigint)
returns rowmill.usage_history
language sql
stable
set search_path = ''
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
      coalesce(b.told_input_tokens, b.input_tokens) as input_tokens,
      coalesce(b.told_output_tokens, b.output_tokens) as output_tokens
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
comment on function rowmill.history_of(bigint) is 'What the last twenty batches of a pipeline, of the latest version that has any, used.';
revoke all on function rowmill.history_of(bigint) from public;

create type rowmill.forecast as (
  input_tokens bigint, -- expected
  output_tokens bigint,
  usd numeric,
  most_tokens bigint, -- and at most
  most_usd numeric
);
comment on type rowmill.forecast is 'What a batch will use; null where that cannot be known.';

-- API: internal
create function rowmill.forecast_of(
  history rowmill.usage_history,
  price rowmill.model_prices,
  requests integer,
  raw_input_tokens bigint, -- by the tokenizer
  max_output_tokens bigint -- the sum of the requests' own limits; null: they have none
)
returns rowmill.forecast
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_forecast rowmill.forecast;
  v_factor numeric := coalesce((history).input_factor, 1);
begin
  v_forecast.input_tokens := ceil(forecast_of.raw_input_tokens * v_factor);
  -- The tokenizer is within a few percent; how a provider counts a schema, only the first batch will tell.
  v_forecast.most_tokens := ceil(forecast_of.raw_input_tokens * v_factor * case when (history).input_factor is null then 1.25 else 1.1 end);
  v_forecast.output_tokens := least(
    coalesce(ceil((history).output_per_request * forecast_of.requests), forecast_of.max_output_tokens),
    forecast_of.max_output_tokens
  );
  v_forecast.usd := rowmill.cost_usd(forecast_of.price, v_forecast.input_tokens, 0, v_forecast.output_tokens);
  -- Without a limit there is no highest price, whatever the history says: where a budget holds there is a limit.
  v_forecast.most_usd := rowmill.cost_usd(forecast_of.price, v_forecast.most_tokens, 0, forecast_of.max_output_tokens);
  return v_forecast;
end;
$$;
comment on function rowmill.forecast_of(rowmill.usage_history, rowmill.model_prices, integer, bigint, bigint) is
  'What requests will use and cost: input by the tokenizer, corrected by the history; output by the history, else by the limits.';
revoke all on function rowmill.forecast_of(rowmill.usage_history, rowmill.model_prices, integer, bigint, bigint) from public;

-- API: internal
create function rowmill.settle_money(batch_id bigint)
returns void
language plpgsql
set search_path = ''
as $$
declare
  v_batch rowmill.batch_processing_details;
  v_price rowmill.model_prices;
  v_spent numeric;
begin
  select b.* into v_batch
  from rowmill.batch_processing_details as b
  where b.id = settle_money.batch_id and b.settled_at is null
  for update;
  if not found then
    return;
  end if;
  v_price := coalesce(v_batch.price, rowmill.price_of(v_batch.model));
  if v_batch.provider_batch_id is null then
    v_spent := 0; -- no batch of it is known; a stray that turns up is settled by itself
  elsif v_batch.provider_status = 'gone' and v_batch.input_tokens = 0 then
    -- The provider lost it, and may have charged for it: what it may have cost at most counts as spent, whatever it told
    -- while it ran.
    v_spent := greatest(
      coalesce(v_batch.reserved_usd, v_batch.estimated_usd),
      rowmill.cost_usd(v_price, v_batch.told_input_tokens, v_batch.told_cached_tokens, v_batch.told_output_tokens)
    );
  elsif v_batch.told_input_tokens is not null then
    v_spent := rowmill.cost_usd(v_price, v_batch.told_input_tokens, v_batch.told_cached_tokens, v_batch.told_output_tokens);
  else
    v_spent := rowmill.cost_usd(v_price, v_batch.input_tokens, v_batch.cached_tokens, v_batch.output_tokens);
  end if;
  update rowmill.batch_processing_details as b
  set settled_at = now(), price = v_price, reserved_usd = 0, spent_usd = v_spent
  where b.id = v_batch.id;
  if coalesce(v_batch.reserved_usd, 0) <> 0 or coalesce(v_spent, 0) <> 0 then
    insert into rowmill.spending as s (pipeline_id, day, reserved_usd, spent_usd)
    values (v_batch.pipeline_id, v_batch.reserved_on, -coalesce(v_batch.reserved_usd, 0), coalesce(v_spent, 0))
    on conflict (pipeline_id, day) do update
    set reserved_usd = s.reserved_usd + excluded.reserved_usd, spent_usd = s.spent_usd + excluded.spent_usd;
  end if;
end;
$$;
comment on function rowmill.settle_money(bigint) is
  'Ends a batch''s reservation and books what it did cost, both at once. Harmless to repeat.';
revoke all on function rowmill.settle_money(bigint) from public;

create type rowmill.money as (reserved_usd numeric, spent_usd numeric);
comment on type rowmill.money is 'Reserved and spent US dollars.';

-- API: internal
create function rowmill.money_of(
  pipeline_id bigint, -- null: all of them
  day date default null -- null: ever
)
returns rowmill.money
language sql
stable
set search_path = ''
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
      case when b.settled_at is null then 0 else rowmill.cost_usd(p.price, coalesce(b.told_input_tokens, b.input_tokens),
        coalesce(b.told_cached_tokens, b.cached_tokens), coalesce(b.told_output_tokens, b.output_tokens)) end
    from rowmill.batch_processing_details as b
    cross join lateral (select rowmill.price_of(b.model) as price) as p
    where b.price is null and b.state not in ('rejected', 'abandoned')
    and (money_of.pipeline_id is null or b.pipeline_id = money_of.pipeline_id)
    and (money_of.day is null or b.reserved_on = money_of.day)
  ) as m;
$$;
comment on function rowmill.money_of(bigint, date) is
  'What is reserved and spent, of a pipeline or of all, ever or on one day (UTC). spent_usd is null where a batch''s price is not known.';
revoke all on function rowmill.money_of(bigint, date) from public;
