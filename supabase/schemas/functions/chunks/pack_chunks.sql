-- API: internal
create or replace function rowmill.pack_chunks(
  pipeline_id bigint,
  worker text,
  sharers integer -- pipelines that wait for the same model, this one among them
)
returns bigint[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_room rowmill.room := rowmill.room_for(pipeline_id);
  v_history rowmill.usage_history := rowmill.history_of(pipeline_id);
  v_price rowmill.model_prices;
  v_forecast rowmill.forecast;
  v_chunk record;
  v_backlog bigint;
  v_backlog_rows bigint;
  v_alone integer; -- chunks that have not been tried travel by so many
  v_ids bigint[] := '{}'::bigint[];
  v_untried integer := 0;
  v_rows bigint := 0;
  v_bytes bigint := 0;
  v_tokens bigint := 0;
  v_usd numeric := 0;
  v_in_hand bigint;
  v_tokens_in_hand numeric;
  v_own_tokens numeric; -- in the queue or in hand
  v_tokens_left bigint;
  v_tokens_of_all bigint; -- the pipeline's part of the model's whole queue
  v_is_scarce boolean; -- not all that waits fits into the queue
  v_waits_for text;
  v_reason text;
begin
  if v_room.code is not null or rowmill.is_being_tried(pipeline_id) then
    return null;
  end if;
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = pack_chunks.pipeline_id;
  v_price := rowmill.price_of(v_pipeline.model);
  -- What another worker has in hand, and has not submitted yet, will take its part.
  select count(*), coalesce(sum(h.tokens), 0), coalesce(sum(h.tokens) filter (where h.is_own), 0)
  into strict v_in_hand, v_tokens_in_hand, v_own_tokens
  from (
    select c.pipeline_id = v_pipeline.id as is_own,
      coalesce(c.raw_input_tokens * coalesce(v_history.input_factor, 1), c.row_count * v_history.tokens_per_request) as tokens
    from rowmill.chunks as c
    join rowmill.pipelines as p on p.id = c.pipeline_id
    where c.state = 'accepted' and p.model = v_pipeline.model
  ) as h;
  v_own_tokens := v_own_tokens + (
    select coalesce(sum(b.reserved_tokens), 0)
    from rowmill.batch_processing_details as b
    where b.pipeline_id = v_pipeline.id and b.model = v_pipeline.model and b.state in ('preparing', 'running')
  );
  v_tokens_of_all := (v_room.tokens + v_room.tokens_in_queue) / pack_chunks.sharers;
  v_tokens_left := least(v_room.tokens - v_tokens_in_hand, v_tokens_of_all - v_own_tokens);
  v_room.tokens_come := v_room.tokens_come or v_in_hand > 0;
  v_room.usd_comes := v_room.usd_comes or v_in_hand > 0;
  select count(*), coalesce(sum(c.row_count), 0) into strict v_backlog, v_backlog_rows
  from rowmill.chunks as c
  where c.pipeline_id = v_pipeline.id and c.state = 'waiting';
  v_is_scarce := coalesce(v_backlog_rows * v_history.tokens_per_request > v_tokens_left, false);
  v_alone := case
    -- More than the queue takes waits in any case: in as few batches as it goes.
    when v_is_scarce then v_backlog
    else greatest(1, v_backlog / 100, ceil(v_backlog::numeric / greatest(v_room.batches, 1)))
  end;

  for v_chunk in
    select c.id, c.row_count, c.requests, c.raw_input_tokens, c.max_output_tokens, c.bytes, c.waits_for,
      c.posted_at > now() - s.repost_after as was_just_tried
    from rowmill.chunks as c
    cross join rowmill.settings as s
    where c.pipeline_id = v_pipeline.id and c.state = 'waiting'
    and (c.waits_for is not null or c.posted_at is null or c.posted_at < now() - s.fetch_after)
    order by c.id
    for update of c skip locked
  loop
    v_forecast := null;
    if v_chunk.raw_input_tokens is not null then
      v_forecast := rowmill.forecast_of(v_history, v_price, v_chunk.requests, v_chunk.raw_input_tokens, v_chunk.max_output_tokens);
    elsif v_history.tokens_per_request is not null then
      v_forecast.most_tokens := ceil(v_chunk.row_count * v_history.tokens_per_request * 1.1);
    end if;
    if cardinality(v_ids) = 0 then
      -- The first goes even if its size is not known, or if it is larger than the room and nothing that ends would make
      -- more: it is cut to what fits.
      if v_room.tokens_come and (
        v_forecast.most_tokens > v_room.tokens - v_tokens_in_hand
        or v_own_tokens > 0 and (v_forecast.most_tokens > v_tokens_left or v_is_scarce and v_tokens_left < v_tokens_of_all / 2)
      ) then
        -- Nor is each gap filled as it opens: batches would stay as small as the first ones were.
        v_waits_for := 'tokens';
        v_reason := format('The queue for %s has room for %s input tokens of it. It goes on when batches end.', v_pipeline.model, greatest(v_tokens_left, 0));
        exit;
      end if;
      -- Where not one of its requests fits, it is not read again at every look. Now and then it is: an edit of the
      -- pipeline or of the limit on output tokens may have made them cheaper.
      if v_forecast.most_usd > v_room.usd
        and (v_room.usd_comes or v_chunk.was_just_tried and v_forecast.most_usd / v_chunk.requests > v_room.usd) then
        v_waits_for := 'budget';
        v_reason := rowmill.budget_reason(v_forecast.most_usd, v_room);
        exit;
      end if;
      if v_chunk.was_just_tried and v_forecast.most_tokens / v_chunk.requests > v_room.tokens then
        v_waits_for := 'tokens';
        v_reason := format('A single request of it takes more input tokens than the %s that the queue for %s has room for; rowmill.model_limits may be too low.',
          v_room.tokens, v_pipeline.model);
        exit;
      end if;
    else
      exit when v_tokens + v_forecast.most_tokens > v_tokens_left or v_tokens_left is not null and v_forecast.most_tokens is null;
      exit when v_usd + v_forecast.most_usd > v_room.usd or v_room.usd is not null and v_forecast.most_usd is null;
    end if;
    exit when cardinality(v_ids) > 0 and (
      v_rows + v_chunk.row_count > 50000
      or v_bytes + coalesce(v_chunk.bytes, v_chunk.row_count * 1000) > 190000000
      or cardinality(v_ids) >= 1000
      or v_chunk.waits_for is null and v_untried >= v_alone
    );
    v_ids := v_ids || v_chunk.id;
    v_untried := v_untried + (v_chunk.waits_for is null)::integer;
    v_rows := v_rows + v_chunk.row_count;
    v_bytes := v_bytes + coalesce(v_chunk.bytes, v_chunk.row_count * 1000);
    v_tokens := v_tokens + coalesce(v_forecast.most_tokens, 0);
    v_usd := v_usd + coalesce(v_forecast.most_usd, 0);
  end loop;

  if cardinality(v_ids) = 0 and v_waits_for is not null then
    update rowmill.chunks as c
    set waits_for = v_waits_for, wait_reason = v_reason
    where c.id = v_chunk.id and c.wait_reason is distinct from v_reason;
    return v_ids;
  end if;
  update rowmill.chunks as c
  set state = 'accepted', owner = pack_chunks.worker, lease_until = now() + s.lease, waits_for = null, wait_reason = null
  from rowmill.settings as s
  where c.id = any (v_ids);
  return v_ids;
end;
$$;
comment on function rowmill.pack_chunks is
   'Takes waiting chunks of one pipeline that fit into one batch and into the room that there is, the oldest first; returns their ids, null where there is no room. What found no room before is packed as tightly as it goes; what was never tried travels by itself, or by hundredths of a long queue, or as the batches that are left of the hour demand it.';
revoke all on function rowmill.pack_chunks from public;
