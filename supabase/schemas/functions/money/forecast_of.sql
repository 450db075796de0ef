-- API: internal
create or replace function rowmill.forecast_of(
  history rowmill.usage_history,
  price rowmill.model_prices,
  requests integer,
  raw_input_tokens bigint, -- by the tokenizer
  max_output_tokens bigint -- the sum of the requests' own limits; null: they have none
)
returns rowmill.forecast
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_forecast rowmill.forecast;
  v_factor numeric := coalesce((history).input_factor, 1);
begin
  -- Clamped: the history is made of what the provider told, and one absurd figure must not stop the work of all.
  v_forecast.input_tokens := rowmill.clamped(ceil(forecast_of.raw_input_tokens * v_factor));
  -- The tokenizer is within a few percent; how a provider counts a schema, only the first batch will tell.
  v_forecast.most_tokens := rowmill.clamped(
    ceil(forecast_of.raw_input_tokens * v_factor * case when (history).input_factor is null then 1.25 else 1.1 end)
  );
  v_forecast.output_tokens := least(
    coalesce(rowmill.clamped(ceil((history).output_per_request * forecast_of.requests)), forecast_of.max_output_tokens),
    forecast_of.max_output_tokens
  );
  v_forecast.usd := rowmill.cost_usd(forecast_of.price, v_forecast.input_tokens, 0, v_forecast.output_tokens);
  -- Without a limit there is no highest price, whatever the history says: where a budget holds there is a limit.
  v_forecast.most_usd := rowmill.cost_usd(forecast_of.price, v_forecast.most_tokens, 0, forecast_of.max_output_tokens);
  return v_forecast;
end;
$$;
comment on function rowmill.forecast_of is
  'What requests will use and cost: input by the tokenizer, corrected by the history; output by the history, else by the limits.';
revoke all on function rowmill.forecast_of from public;
