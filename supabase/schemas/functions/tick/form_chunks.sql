-- API: internal
create or replace function rowmill.form_chunks(
  pipeline rowmill.pipelines,
  max_chunks integer,
  out formed integer,
  out posted integer
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_chunk_id bigint;
begin
  formed := 0;
  posted := 0;
  while formed < form_chunks.max_chunks loop
    v_chunk_id := rowmill.form_chunk((form_chunks.pipeline).id, false);
    if v_chunk_id is null and exists (
      select
      from rowmill.pending_keys as k
      where k.pipeline_id = (form_chunks.pipeline).id
      and k.queued_at <= clock_timestamp() - (form_chunks.pipeline).flush_after
    ) then
      v_chunk_id := rowmill.form_chunk((form_chunks.pipeline).id, true);
    end if;
    exit when v_chunk_id is null;
    formed := formed + 1;
    begin
      if rowmill.post_chunk(v_chunk_id) then
        posted := posted + 1;
      end if;
    exception when others then
      null; -- the chunk stands; the tick posts it again and says what is wrong
    end;
  end loop;
end;
$$;
comment on function rowmill.form_chunks is
  'Forms and posts up to max_chunks chunks of a pipeline: full ones, and one of less where rows have waited for flush_after.';
revoke all on function rowmill.form_chunks from public;
