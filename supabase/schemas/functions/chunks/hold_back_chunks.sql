-- API: worker
create or replace function rowmill.hold_back_chunks(
  worker text,
  waits_for text, -- as begin_batch said
  reason text,
  chunks jsonb -- [{"c": chunk, "requests", "raw_input_tokens", "max_output_tokens", "bytes"}]; the figures may be null
)
returns integer
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
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
      requests = coalesce(rowmill.count_or_null(r.requests, most => 2147483647), c.requests),
      raw_input_tokens = coalesce(rowmill.count_or_null(r.raw_input_tokens), c.raw_input_tokens),
      max_output_tokens = rowmill.count_or_null(r.max_output_tokens),
      bytes = coalesce(rowmill.count_or_null(r.bytes), c.bytes)
    from jsonb_to_recordset(hold_back_chunks.chunks)
      as r(c bigint, requests jsonb, raw_input_tokens jsonb, max_output_tokens jsonb, bytes jsonb)
    where c.id = r.c and c.state = 'accepted' and c.owner = hold_back_chunks.worker
    returning c.id
  )
  select coalesce(array_agg(h.id), '{}') into strict v_ids from held_back as h;
  delete from rowmill.chunk_rows as r where r.chunk_id = any (v_ids);
  return cardinality(v_ids);
end;
$$;
comment on function rowmill.hold_back_chunks is
  'Gives accepted chunks back that found no room, with the reason and what their file would have held; '
  'returns how many were this lease''s. waits_for null: they are taken again at once.';
revoke all on function rowmill.hold_back_chunks from public;
