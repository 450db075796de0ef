-- API: worker
create or replace function rowmill.claim_work(worker text, max_batches integer)
returns table (batch integer, chunk_id bigint, pipeline_id bigint, row_count integer)
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline record;
  v_ids bigint[];
  v_batches integer := 0;
  v_done bigint[] := '{}'::bigint[];
  v_has_taken boolean := true;
begin
  while v_has_taken and v_batches < claim_work.max_batches loop
    v_has_taken := false;
    for v_pipeline in
      select t.id, t.sharers from rowmill.pipelines_by_turn(v_done) with ordinality as t(id, sharers, place) order by t.place
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
comment on function rowmill.claim_work is
  'Takes, under a lease, chunks that nobody posted, that were posted a while ago and accepted by nobody, '
  'or that wait for room and now have it, grouped by the batch that they are to travel in; pipelines take turns.';
revoke all on function rowmill.claim_work from public;
