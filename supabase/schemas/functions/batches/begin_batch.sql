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
  v_rows integer;
  v_batch_id bigint;
  v_room rowmill.room;
  v_price rowmill.model_prices;
  v_forecast rowmill.forecast;
  v_fits bigint;
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

  -- One at a time, from the look at what is left until it is taken, and committed.
  perform pg_advisory_xact_lock(hashtextextended('rowmill.reserve', 0));
  v_price := rowmill.price_of(v_pipeline.model);
  v_room := rowmill.room_for(v_pipeline.id);
  if begin_batch.max_output_tokens is null and v_room.usd is not null then
    return jsonb_build_object('status', 'altered'); -- the installation's came while it was waited for
  end if;
  v_forecast := rowmill.forecast_of(rowmill.history_of(v_pipeline.id), v_price,
    begin_batch.requests, begin_batch.raw_input_tokens, begin_batch.max_output_tokens);
  if v_room.code is not null then
    return jsonb_build_object('status', 'waits', 'waits_for', v_room.code, 'reason', v_room.reason, 'fits', 0);
  end if;
  if v_room.tokens is not null and not v_room.tokens_come then
    -- Only a batch that ends well teaches that there is room again. With none on its way one request is tried, however
    -- little the model is thought to take; what an operator says it takes holds.
    v_room.tokens := greatest(v_room.tokens, least(
      ceil(v_forecast.most_tokens::numeric / nullif(begin_batch.requests, 0)),
      (select l.enqueued_tokens from rowmill.model_limits as l where l.model = v_pipeline.model)
    ));
  end if;
  if v_forecast.most_usd > v_room.usd or v_forecast.most_tokens > v_room.tokens then
    v_fits := least(
      floor(v_room.usd / nullif(v_forecast.most_usd / begin_batch.requests, 0)),
      floor(v_room.tokens / nullif(v_forecast.most_tokens::numeric / begin_batch.requests, 0))
    );
    return jsonb_build_object(
      'status', 'waits',
      'waits_for', case when v_forecast.most_tokens > v_room.tokens then 'tokens' else 'budget' end,
      'reason', case
        when v_forecast.most_tokens > v_room.tokens
          then format('Its %s input tokens do not fit into the queue for %s, which has room for %s. It goes on when batches end.', v_forecast.most_tokens, v_pipeline.model, v_room.tokens)
        else rowmill.budget_reason(v_forecast.most_usd, v_room)
      end,
      -- A part is sent only where waiting would not make room for the whole.
      'fits', case
        when v_forecast.most_usd > v_room.usd and v_room.usd_comes or v_forecast.most_tokens > v_room.tokens and v_room.tokens_come then 0
        else v_fits
      end
    );
  end if;
  perform rowmill.commit_durably();

  delete from rowmill.chunk_rows as r
  using jsonb_to_recordset(begin_batch.left_over) as l(c bigint, n integer)
  where r.chunk_id = any (begin_batch.chunk_ids) and r.chunk_id = l.c and r.n = l.n;
  insert into rowmill.pending_keys (pipeline_id, keys, row_count, only_missing, may_repeat, first_entry)
  -- They may repeat: an intent that is given up leaves them in its chunk as well.
  select v_pipeline.id, jsonb_agg(q.key order by q.place), count(*), q.only_missing, true, q.oldest_entry
  from (
    select c.id, c.keys -> l.n as key, l.place, c.only_missing, c.oldest_entry,
      (row_number() over (partition by c.id order by l.place) - 1) / 1000 as slice
    from rows from (jsonb_to_recordset(begin_batch.left_over) as (c bigint, n integer)) with ordinality as l(c, n, place)
    join rowmill.chunks as c on c.id = l.c and c.id = any (begin_batch.chunk_ids)
    where l.n >= 0 and l.n < c.row_count
  ) as q
  group by q.id, q.slice, q.only_missing, q.oldest_entry;
  update rowmill.chunk_rows as r
  set same_as = t."of"
  from jsonb_to_recordset(begin_batch.twins) as t(c bigint, n integer, "of" integer)
  where r.chunk_id = any (begin_batch.chunk_ids) and r.chunk_id = t.c and r.n = t.n;

  select count(*) into strict v_rows from rowmill.chunk_rows as r where r.chunk_id = any (begin_batch.chunk_ids);
  insert into rowmill.batch_processing_details (
    key, pipeline_id, pipeline_version, model, endpoint, requests, rows, bytes, owner, lease_until, raw_input_tokens,
    estimated_input_tokens, estimated_output_tokens, reserved_tokens, price, estimated_usd, reserved_usd, has_twins
  )
  select begin_batch.key, v_pipeline.id, v_pipeline.version, v_pipeline.model, v_pipeline.endpoint,
    begin_batch.requests, v_rows, begin_batch.bytes, begin_batch.worker, now() + s.lease, begin_batch.raw_input_tokens,
    v_forecast.input_tokens, v_forecast.output_tokens, v_forecast.most_tokens, v_price, v_forecast.usd, v_forecast.most_usd,
    begin_batch.twins <> '[]'
  from rowmill.settings as s
  returning id into strict v_batch_id;
  if v_forecast.most_usd <> 0 then
    insert into rowmill.spending as s (pipeline_id, day, reserved_usd)
    values (v_pipeline.id, (now() at time zone 'UTC')::date, v_forecast.most_usd)
    on conflict (pipeline_id, day) do update set reserved_usd = s.reserved_usd + excluded.reserved_usd;
  end if;
  update rowmill.chunks as c
  set state = 'batched', batch_id = v_batch_id, owner = null, lease_until = null
  where c.id = any (begin_batch.chunk_ids);
  return jsonb_build_object('status', 'begun', 'batch_id', v_batch_id);
end;
$$;
comment on function rowmill.begin_batch is
   'Writes the intent of a batch over accepted chunks before anything reaches the provider, reserves what it may cost and its tokens, and queues the rows again that found no room in its file. {"status"}: "begun" with "batch_id". Else nothing is changed: "waits" with "waits_for", "reason" and "fits", how many of its requests could go; "altered": the pipeline is another one than the file was written by; "lost": it was dropped, or a chunk is not under this lease (any more).';
revoke all on function rowmill.begin_batch from public;
