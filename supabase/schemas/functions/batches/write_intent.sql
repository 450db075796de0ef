-- API: internal
create or replace function rowmill.write_intent(
  worker text,
  key text,
  pipeline_id bigint,
  chunk_ids bigint[],
  requests integer,
  bytes bigint,
  raw_input_tokens bigint,
  price rowmill.model_prices,
  forecast rowmill.forecast,
  has_twins boolean
)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_rows integer;
  v_batch_id bigint;
begin
  select count(*) into strict v_rows from rowmill.chunk_rows as r where r.chunk_id = any (write_intent.chunk_ids);
  insert into rowmill.batch_processing_details (
    key, pipeline_id, pipeline_version, model, endpoint, requests, rows, bytes, owner, lease_until, raw_input_tokens,
    estimated_input_tokens, estimated_output_tokens, reserved_tokens, price, estimated_usd, reserved_usd, has_twins
  )
  select write_intent.key, p.id, p.version, p.model, p.endpoint,
    write_intent.requests, v_rows, write_intent.bytes, write_intent.worker, now() + s.lease, write_intent.raw_input_tokens,
    forecast.input_tokens, forecast.output_tokens, forecast.most_tokens, write_intent.price, forecast.usd, forecast.most_usd,
    write_intent.has_twins
  from rowmill.pipelines as p
  cross join rowmill.settings as s
  where p.id = write_intent.pipeline_id
  returning id into strict v_batch_id;
  if forecast.most_usd <> 0 then
    insert into rowmill.spending as s (pipeline_id, day, reserved_usd)
    values (write_intent.pipeline_id, (now() at time zone 'UTC')::date, forecast.most_usd)
    on conflict (pipeline_id, day) do update set reserved_usd = s.reserved_usd + excluded.reserved_usd;
  end if;
  update rowmill.chunks as c
  set state = 'batched', batch_id = v_batch_id, owner = null, lease_until = null
  where c.id = any (write_intent.chunk_ids);
  return v_batch_id;
end;
$$;
comment on function rowmill.write_intent is
  'The intent of a batch over accepted chunks, and its reservation; returns its id. The caller has the locks of begin_batch.';
revoke all on function rowmill.write_intent from public;
