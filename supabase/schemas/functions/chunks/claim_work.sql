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
comment on function rowmill.claim_work is
   'Takes, under a lease, chunks that nobody posted, that were posted a while ago and accepted by nobody, or that wait for room and now have it, grouped by the batch that they are to travel in; pipelines take turns.';
revoke all on function rowmill.claim_work from public;
