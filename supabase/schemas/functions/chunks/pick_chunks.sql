-- API: internal
create or replace function rowmill.pick_chunks(
  pipeline_id bigint,
  room rowmill.room,
  sharers integer -- pipelines that wait for the same model, this one among them
)
returns bigint[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_model text;
  v_price rowmill.model_prices;
  v_history rowmill.usage_history := rowmill.history_of(pipeline_id);
  v_share record;
  v_forecast rowmill.forecast;
  v_chunk record;
  v_waits record;
  v_ids bigint[] := '{}'::bigint[];
  v_untried integer := 0;
  v_rows bigint := 0;
  v_bytes bigint := 0;
  v_tokens bigint := 0;
  v_usd numeric := 0;
begin
  select p.model into strict v_model from rowmill.pipelines as p where p.id = pick_chunks.pipeline_id;
  v_price := rowmill.price_of(v_model);
  select s.* into strict v_share from rowmill.share_of_room(pick_chunks.pipeline_id, v_model, room, v_history, pick_chunks.sharers) as s;
  room.tokens_come := room.tokens_come or v_share.is_in_hand;
  room.usd_comes := room.usd_comes or v_share.is_in_hand;

  for v_chunk in
    select c.id, c.row_count, c.requests, c.raw_input_tokens, c.max_output_tokens, c.waits_for,
      coalesce(c.bytes, c.row_count * 1000) as bytes, c.posted_at > now() - s.repost_after as was_just_tried
    from rowmill.chunks as c
    cross join rowmill.settings as s
    where c.pipeline_id = pick_chunks.pipeline_id and c.state = 'waiting'
    and (c.waits_for is not null or c.posted_at is null or c.posted_at < now() - s.fetch_after)
    order by c.id
    for update of c skip locked
  loop
    v_forecast := null;
    if v_chunk.raw_input_tokens is not null then
      v_forecast := rowmill.forecast_of(v_history, v_price, v_chunk.requests, v_chunk.raw_input_tokens, v_chunk.max_output_tokens);
    elsif v_history.tokens_per_request is not null then
      v_forecast.most_tokens := rowmill.clamped(ceil(v_chunk.row_count * v_history.tokens_per_request * 1.1));
    end if;
    if cardinality(v_ids) = 0 then
      select w.* into v_waits
      from rowmill.why_first_waits(v_model, room, v_forecast, v_chunk.requests, v_chunk.was_just_tried, v_share.tokens_free,
        v_share.tokens_left, v_share.has_own_tokens, v_share.is_gap) as w;
      if found then
        update rowmill.chunks as c
        set waits_for = v_waits.waits_for, wait_reason = v_waits.reason
        where c.id = v_chunk.id and c.wait_reason is distinct from v_waits.reason;
        return v_ids;
      end if;
    else
      exit when v_tokens + v_forecast.most_tokens > v_share.tokens_left
        or v_share.tokens_left is not null and v_forecast.most_tokens is null;
      exit when v_usd + v_forecast.most_usd > room.usd or room.usd is not null and v_forecast.most_usd is null;
      exit when v_rows + v_chunk.row_count > 50000 or v_bytes + v_chunk.bytes > 30000000 or cardinality(v_ids) >= 1000;
      exit when v_chunk.waits_for is null and v_untried >= v_share.alone;
    end if;
    v_ids := v_ids || v_chunk.id;
    v_untried := v_untried + (v_chunk.waits_for is null)::integer;
    v_rows := v_rows + v_chunk.row_count;
    v_bytes := v_bytes + v_chunk.bytes;
    v_tokens := v_tokens + coalesce(v_forecast.most_tokens, 0);
    v_usd := v_usd + coalesce(v_forecast.most_usd, 0);
  end loop;
  return v_ids;
end;
$$;
comment on function rowmill.pick_chunks is
  'Locks waiting chunks of one pipeline that fit into one batch and into a room, the oldest first; returns their ids. '
  'Where the first does not fit, it notes why, and returns none.';
revoke all on function rowmill.pick_chunks from public;
