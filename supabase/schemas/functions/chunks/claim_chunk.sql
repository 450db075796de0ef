-- API: worker
create or replace function rowmill.claim_chunk(
  chunk_id bigint,
  pipeline text,
  worker text,
  last_n integer default null -- the highest place among the rows that came along
)
returns table (status text, row_count integer, pipeline_id bigint, rows_hold boolean)
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
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
  if v_room.code is null and (rowmill.is_being_tried(v_pipeline.id) or rowmill.would_overtake(v_pipeline.id, v_pipeline.model)) then
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
comment on function rowmill.claim_chunk is
  'Takes a waiting chunk under a lease: "accepted", with whether rows that came along may be used (the pipeline was not altered '
  'since); "waits": there is no room for it, it is taken later; "known" where somebody has or had it, which repeats harmlessly. '
  'Else nothing changes: "paused", "unknown_pipeline", "unknown_chunk", "foreign_rows" (a place beyond the chunk).';
revoke all on function rowmill.claim_chunk from public;
