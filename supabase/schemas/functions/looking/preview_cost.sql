-- API: public
create or replace function rowmill.preview_cost(
  pipeline text,
  requests integer,
  raw_input_tokens bigint, -- by the tokenizer
  max_output_tokens bigint -- the sum of the requests' own limits; null: they have none
)
returns table (
  input_tokens bigint, output_tokens bigint, estimated_usd numeric, most_usd numeric, price_as_of date,
  waiting_reason text, usd_left numeric
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_price rowmill.model_prices := rowmill.price_of(v_pipeline.model);
  v_forecast rowmill.forecast := rowmill.forecast_of(rowmill.history_of(v_pipeline.id), v_price,
    requests, raw_input_tokens, max_output_tokens);
  v_room rowmill.room := rowmill.room_for(v_pipeline.id);
begin
  return query
  select v_forecast.input_tokens, v_forecast.output_tokens, v_forecast.usd, v_forecast.most_usd,
    v_price.as_of, v_room.reason, v_room.usd;
end;
$$;
comment on function rowmill.preview_cost is
  'What requests of a pipeline would use and cost, by its history and its model''s price; null where that cannot be known. '
  'Raises RM111.';
revoke all on function rowmill.preview_cost from public;
