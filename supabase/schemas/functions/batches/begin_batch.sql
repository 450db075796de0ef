-- API: worker
create or replace function rowmill.begin_batch(
  worker text,
  key text, -- our name for the batch, unique
  chunk_ids bigint[],
  version integer, -- of the pipeline, that the file was written by
  requests integer,
  bytes bigint,
  raw_input_tokens bigint, -- by the tokenizer
  max_output_tokens bigint, -- the sum of the requests' own limits; null: they have none
  left_over jsonb default '[]', -- [{"c": chunk, "n"}]: rows of these chunks that found no room
  twins jsonb default '[]' -- [{"c", "n", "of"}]: rows whose answer is that of place "of"
)
returns jsonb
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_held integer;
  v_room rowmill.room;
  v_price rowmill.model_prices;
  v_forecast rowmill.forecast;
  v_waits jsonb;
begin
  select p.* into v_pipeline
  from rowmill.pipelines as p
  where p.id = (select min(c.pipeline_id) from rowmill.chunks as c where c.id = any (begin_batch.chunk_ids))
  and p.state <> 'dropped'
  for share; -- it is not altered meanwhile
  if not found then
    return jsonb_build_object('status', 'lost');
  end if;
  perform
  from rowmill.chunks as c
  where c.id = any (begin_batch.chunk_ids)
  and c.state = 'accepted' and c.owner = begin_batch.worker and c.pipeline_id = v_pipeline.id
  order by c.id
  for update;
  get diagnostics v_held = row_count;
  if v_held <> cardinality(begin_batch.chunk_ids) then
    return jsonb_build_object('status', 'lost');
  end if;
  -- A budget that was set since the file was written wants limits in it.
  if v_pipeline.version <> begin_batch.version or (begin_batch.max_output_tokens is null and rowmill.has_budget(v_pipeline.id)) then
    return jsonb_build_object('status', 'altered');
  end if;

  -- One at a time, from the look at what is left until it is taken, and committed. A row's lock: any role that connects
  -- could take an advisory lock, and nobody could submit while it holds it.
  perform from rowmill.locks as l where l.name = 'reserve' for update;
  v_price := rowmill.price_of(v_pipeline.model);
  v_room := rowmill.room_for(v_pipeline.id);
  if begin_batch.max_output_tokens is null and v_room.usd is not null then
    return jsonb_build_object('status', 'altered'); -- the installation's came while it was waited for
  end if;
  v_forecast := rowmill.forecast_of(rowmill.history_of(v_pipeline.id), v_price,
    begin_batch.requests, begin_batch.raw_input_tokens, begin_batch.max_output_tokens);
  v_waits := rowmill.why_batch_waits(v_pipeline.model, v_room, v_forecast, begin_batch.requests);
  if v_waits is not null then
    return v_waits;
  end if;

  perform rowmill.commit_durably();
  perform rowmill.requeue_left_over(v_pipeline.id, begin_batch.chunk_ids, begin_batch.left_over);
  perform rowmill.pair_twins(begin_batch.chunk_ids, begin_batch.twins);
  return jsonb_build_object('status', 'begun', 'batch_id', rowmill.write_intent(begin_batch.worker, begin_batch.key, v_pipeline.id,
    begin_batch.chunk_ids, begin_batch.requests, begin_batch.bytes, begin_batch.raw_input_tokens, v_price, v_forecast,
    has_twins => begin_batch.twins <> '[]'));
end;
$$;
comment on function rowmill.begin_batch is
  'Writes the intent of a batch over accepted chunks before anything reaches the provider, reserves what it may cost and its tokens, '
  'and queues the rows again that found no room in its file. {"status"}: "begun" with "batch_id". '
  'Else nothing is changed: "waits" with "waits_for", "reason" and "fits", how many of its requests could go; '
  '"altered": the pipeline is another one than the file was written by; '
  '"lost": it was dropped, or a chunk is not under this lease (any more).';
revoke all on function rowmill.begin_batch from public;
