-- API: internal
create or replace function rowmill.cost_usd(
  price rowmill.model_prices,
  input_tokens bigint, -- the cached ones among them
  cached_tokens bigint,
  output_tokens bigint
)
returns numeric
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when cost_usd.input_tokens = 0 and cost_usd.output_tokens = 0 then 0 -- whatever the price
    else (
      -- numeric: the difference of two bigints may be none
      greatest(cost_usd.input_tokens::numeric - cost_usd.cached_tokens, 0) * (cost_usd.price).input_usd
      + cost_usd.cached_tokens * (cost_usd.price).cached_input_usd
      + cost_usd.output_tokens * (cost_usd.price).output_usd
    ) * (cost_usd.price).batch_share / 1000000
  end;
$$;
comment on function rowmill.cost_usd is
  'US dollars for tokens in a batch; null where price or tokens are unknown.';
revoke all on function rowmill.cost_usd from public;
