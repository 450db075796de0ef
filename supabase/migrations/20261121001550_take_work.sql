-- Chunks are taken as far as there is room, fairly between pipelines, and several waiting ones travel in one batch.
-- Workers must stop: an older one calls claim_waiting_chunks.

drop function rowmill.claim_chunk(bigint, text, text, integer);

-- API: worker
create function rowmill.claim_chunk(
  chunk_id bigint,
  pipeline text,
  worker text,
  last_n integer default null -- the highest place among the rows that came along
)
returns table (status text, row_count integer, pipeline_id bigint, rows_hold boolean)
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines;
  v_chunk rowmill.chunks;
  v_room rowmill.room;
begin
  select p.* into v_pipeline
  from rowmill.pipelines as p
  where p.name = claim_chunk.pipeline and p.state <> 'dropped';
  if not found then
    return query select 'unknown_pipeline', null::integer, null::bigint, false;
    return;
  end if;
  if v_pipeline.state = 'paused' then
    return query select 'paused', null::integer, v_pipeline.id, false;
    return;
  end if;

  v_room := rowmill.room_for(v_pipeline.id);
  if v_room.code is null and (rowmill.is_being_tried(v_pipeline.id) or exists (
    -- Who comes later does not overtake those that wait for the same.
    select
    from rowmill.chunks as c
    join rowmill.pipelines as p on p.id = c.pipeline_id
    where c.waits_for is not null and p.state = 'active'
    and (c.pipeline_id = v_pipeline.id or c.waits_for = 'rate' or c.waits_for in ('tokens', 'turn') and p.model = v_pipeline.model)
  )) then
    v_room.code := 'turn';
    v_room.reason := 'Others wait for the same room and came before.';
  end if;
  if v_room.code is not null then
    update rowmill.chunks as c
    set waits_for = v_room.code, wait_reason = v_room.reason
    where c.id = claim_chunk.chunk_id and c.pipeline_id = v_pipeline.id and c.state = 'waiting'
    and coalesce(claim_chunk.last_n, -1) < c.row_count and c.waits_for is null
    returning c.* into v_chunk;
    if found then
      return query select 'waits', v_chunk.row_count, v_chunk.pipeline_id, false;
      return;
    end if;
  else
    update rowmill.chunks as c
    set state = 'accepted', owner = claim_chunk.worker, lease_until = now() + s.lease, waits_for = null, wait_reason = null
    from rowmill.settings as s
    where c.id = claim_chunk.chunk_id and c.pipeline_id = v_pipeline.id and c.state = 'waiting'
    and coalesce(claim_chunk.last_n, -1) < c.row_count
    returning c.* into v_chunk;
    if found then
      return query select 'accepted', v_chunk.row_count, v_chunk.pipeline_id, v_chunk.version = v_pipeline.version;
      return;
    end if;
  end if;

  select c.* into v_chunk from rowmill.chunks as c where c.id = claim_chunk.chunk_id;
  return query select
    case
      when v_chunk.id is null or v_chunk.pipeline_id <> v_pipeline.id then 'unknown_chunk'
      when claim_chunk.last_n >= v_chunk.row_count then 'foreign_rows'
      else 'known'
    end,
    v_chunk.row_count, v_chunk.pipeline_id, false;
end;
$$;
comment on function rowmill.claim_chunk(bigint, text, text, integer) is
  'Takes a waiting chunk under a lease: "accepted", with whether rows that came along may be used (the pipeline was not altered since); "waits": there is no room for it, it is taken later; "known" where somebody has or had it, which repeats harmlessly. Else nothing changes: "paused", "unknown_pipeline", "unknown_chunk", "foreign_rows" (a place beyond the chunk).';
revoke all on function rowmill.claim_chunk(bigint, text, text, integer) from public;

-- API: internal
create function rowmill.pack_chunks(
  pipeline_id bigint,
  worker text,
  sharers integer -- pipelines that wait for the same model, this one among them
)
returns bigint[]
language plpgsql
set search_path = ''
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
  v_ids bigint[] := '{}';
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
comment on function rowmill.pack_chunks(bigint, text, integer) is
  'Takes waiting chunks of one pipeline that fit into one batch and into the room that there is, the oldest first; returns their ids, null where there is no room. What found no room before is packed as tightly as it goes; what was never tried travels by itself, or by hundredths of a long queue, or as the batches that are left of the hour demand it.';
revoke all on function rowmill.pack_chunks(bigint, text, integer) from public;

drop function rowmill.claim_waiting_chunks(text, integer);

-- API: worker
create function rowmill.claim_work(worker text, max_batches integer)
returns table (batch integer, chunk_id bigint, pipeline_id bigint, row_count integer)
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_pipeline record;
  v_ids bigint[];
  v_batches integer := 0;
  v_done bigint[] := '{}';
  v_has_taken boolean := true;
begin
  while v_has_taken and v_batches < claim_work.max_batches loop
    v_has_taken := false;
    for v_pipeline in
      with waiting as (
        select distinct on (c.pipeline_id) c.pipeline_id, c.id as oldest
        from rowmill.chunks as c
        cross join rowmill.settings as s
        where c.state = 'waiting'
        and (c.waits_for is not null or c.posted_at is null or c.posted_at < now() - s.fetch_after)
        order by c.pipeline_id, c.id
      )
      select p.id, count(*) over (partition by p.model)::integer as sharers
      from waiting as w
      join rowmill.pipelines as p on p.id = w.pipeline_id
      where p.state = 'active' and p.id <> all (v_done) and rowmill.structure_problem(p.id) is null
      -- Whoever has least of the queue is first.
      order by (
        select coalesce(sum(b.reserved_tokens), 0)
        from rowmill.batch_processing_details as b
        where b.pipeline_id = p.id and b.state in ('preparing', 'running')
      ) + (
        select coalesce(sum(c.row_count), 0)
        from rowmill.chunks as c
        where c.pipeline_id = p.id and c.state = 'accepted'
      ), (
        -- Of several that have none, whoever had its turn longest ago.
        select max(b.id) from rowmill.batch_processing_details as b where b.pipeline_id = p.id
      ) nulls first, w.oldest
    loop
      exit when v_batches >= claim_work.max_batches;
      v_ids := rowmill.pack_chunks(v_pipeline.id, claim_work.worker, v_pipeline.sharers);
      if coalesce(cardinality(v_ids), 0) = 0 then
        v_done := v_done || v_pipeline.id;
        continue;
      end if;
      v_has_taken := true;
      v_batches := v_batches + 1;
      return query
      select v_batches, c.id, c.pipeline_id, c.row_count
      from rowmill.chunks as c
      where c.id = any (v_ids)
      order by c.id;
    end loop;
  end loop;
end;
$$;
comment on function rowmill.claim_work(text, integer) is
  'Takes, under a lease, chunks that nobody posted, that were posted a while ago and accepted by nobody, or that wait for room and now have it, grouped by the batch that they are to travel in; pipelines take turns.';
revoke all on function rowmill.claim_work(text, integer) from public;

-- API: worker
create function rowmill.hold_back_chunks(
  worker text,
  waits_for text, -- as begin_batch said
  reason text,
  chunks jsonb -- [{"c": chunk, "requests", "raw_input_tokens", "max_output_tokens", "bytes"}]; the figures may be null
)
returns integer
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_ids bigint[];
begin
  with held_back as (
    update rowmill.chunks as c
    set
      state = 'waiting', owner = null, lease_until = null,
      waits_for = hold_back_chunks.waits_for, wait_reason = hold_back_chunks.reason,
      posted_at = case when hold_back_chunks.waits_for is null then c.posted_at else now() end, -- for pack_chunks
      requests = coalesce(r.requests, c.requests), raw_input_tokens = coalesce(r.raw_input_tokens, c.raw_input_tokens),
      max_output_tokens = r.max_output_tokens, bytes = coalesce(r.bytes, c.bytes)
    from jsonb_to_recordset(hold_back_chunks.chunks)
      as r(c bigint, requests integer, raw_input_tokens bigint, max_output_tokens bigint, bytes bigint)
    where c.id = r.c and c.state = 'accepted' and c.owner = hold_back_chunks.worker
    returning c.id
  )
  select coalesce(array_agg(h.id), '{}') into strict v_ids from held_back as h;
  delete from rowmill.chunk_rows as r where r.chunk_id = any (v_ids);
  return cardinality(v_ids);
end;
$$;
comment on function rowmill.hold_back_chunks(text, text, text, jsonb) is
  'Gives accepted chunks back that found no room, with the reason and what their file would have held; returns how many were this lease''s. waits_for null: they are taken again at once.';
revoke all on function rowmill.hold_back_chunks(text, text, text, jsonb) from public;
