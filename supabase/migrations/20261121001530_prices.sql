-- What a model costs and how much of its work the provider takes at a time. Workers need not stop.

alter table rowmill.settings
  add column budget_usd numeric,
  add column daily_budget_usd numeric,
  add column max_output_tokens integer not null default 4096,
  add column batches_per_hour integer not null default 2000,
  add column breaker_batches integer not null default 3,
  add column breaker_pass_ratio numeric not null default 0.5,
  add column breaker_rows integer not null default 5,
  add constraint settings_budgets_are_not_negative check (budget_usd >= 0 and daily_budget_usd >= 0),
  add constraint settings_max_output_tokens_is_positive check (max_output_tokens > 0),
  add constraint settings_batches_per_hour_is_positive check (batches_per_hour > 0),
  add constraint settings_breaker_batches_is_positive check (breaker_batches > 0),
  add constraint settings_breaker_rows_is_positive check (breaker_rows > 0),
  add constraint settings_breaker_pass_ratio_is_a_share check (breaker_pass_ratio between 0 and 1);
comment on column rowmill.settings.budget_usd is 'What all pipelines together may ever cost, in US dollars; null: no limit. What does not fit waits.';
comment on column rowmill.settings.daily_budget_usd is 'The same for one day (UTC), by the time at which a batch is submitted.';
comment on column rowmill.settings.max_output_tokens is
  'Put into requests as the limit on output tokens where a budget holds and the pipeline''s params set none: without a limit, no batch has a highest price, and no budget could be kept.';
comment on column rowmill.settings.batches_per_hour is 'Batches that are created within an hour at most; OpenAI takes 2,000. What is beyond waits, and is packed into larger ones.';
comment on column rowmill.settings.breaker_batches is 'After so many batches in a row under breaker_pass_ratio a pipeline is paused.';
comment on column rowmill.settings.breaker_pass_ratio is 'The part of a batch''s rows that must not fail; what expired or was cancelled is left out.';
comment on column rowmill.settings.breaker_rows is
  'So many different rows must have failed in those batches: one poison row, whose retries travel alone, stops no pipeline.';

create table rowmill.model_limits (
  model text primary key,
  enqueued_tokens bigint not null,
  constraint model_limits_are_positive check (enqueued_tokens > 0)
);
alter table rowmill.model_limits enable row level security;
comment on table rowmill.model_limits is
  'Input tokens that the provider takes into its queue at a time, by model, as the limits page of your account says. Edit freely. A model that is not here is not limited until the provider says that its queue is full.';

create table rowmill.model_states (
  model text primary key,
  learned_tokens bigint,
  strikes integer not null default 0,
  blocked_until timestamptz
);
alter table rowmill.model_states enable row level security;
comment on table rowmill.model_states is 'What the provider taught about a model''s queue: how full it was when it was too full, and until when to leave it alone.';
comment on column rowmill.model_states.learned_tokens is 'Tokens in flight that are not passed for now: seven tenths of what was too many, a quarter more after each batch that ends well.';
comment on column rowmill.model_states.strikes is 'How often in a row the queue was full; each doubles the wait.';

-- Source: OpenAI's public price list, each as it was read on the day of as_of; newer ones may cost less by now. What an
-- operator edited stays.
insert into rowmill.model_prices (model, input_usd, cached_input_usd, output_usd, as_of) values
  ('gpt-5.1', 1.25, 0.125, 10.00, '2026-01-31'),
  ('gpt-5.2', 1.75, 0.175, 14.00, '2026-01-31'),
  ('gpt-5.4', 2.50, 0.25, 15.00, '2026-05-04'),
  ('gpt-5.4-mini', 0.75, 0.075, 4.50, '2026-05-04'),
  ('gpt-5.4-nano', 0.20, 0.02, 1.25, '2026-05-04'),
  ('gpt-5.5', 5.00, 0.50, 30.00, '2026-05-04')
on conflict (model) do nothing;

-- API: internal
create function rowmill.price_of(model text)
returns rowmill.model_prices
language sql
stable
set search_path = ''
as $$
  select m
  from rowmill.model_prices as m
  where m.model in (price_of.model, regexp_replace(price_of.model, '-\d{4}-\d{2}-\d{2}$', ''))
  order by m.model = price_of.model desc
  limit 1;
$$;
comment on function rowmill.price_of(text) is 'The price of a model; a dated name (gpt-4o-mini-2024-07-18) has its family''s where it has none of its own. null: nobody knows.';
revoke all on function rowmill.price_of(text) from public;

-- API: internal
create function rowmill.cost_usd(
  price rowmill.model_prices,
  input_tokens bigint, -- the cached ones among them
  cached_tokens bigint,
  output_tokens bigint
)
returns numeric
language sql
immutable
set search_path = ''
as $$
  select case
    when cost_usd.input_tokens = 0 and cost_usd.output_tokens = 0 then 0 -- whatever the price
    else (
      greatest(cost_usd.input_tokens - cost_usd.cached_tokens, 0) * (cost_usd.price).input_usd
      + cost_usd.cached_tokens * (cost_usd.price).cached_input_usd
      + cost_usd.output_tokens * (cost_usd.price).output_usd
    ) * (cost_usd.price).batch_share / 1000000
  end;
$$;
comment on function rowmill.cost_usd(rowmill.model_prices, bigint, bigint, bigint) is 'US dollars for tokens in a batch; null where price or tokens are unknown.';
revoke all on function rowmill.cost_usd(rowmill.model_prices, bigint, bigint, bigint) from public;
