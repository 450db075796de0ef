-- API: internal
create or replace function rowmill.write_answers(
  batch rowmill.batch_processing_details,
  chunk_ids bigint[],
  answers jsonb, -- [{"c": chunk, "n", "h": hash, "o0": value, …}]
  heals boolean, -- whether the pipeline has failures that a success takes away
  queue_position bigint -- where the queue stands, if the answers are to be remembered; else null
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_old rowmill.pipelines;
  v_is_old boolean;
  v_refused integer := 0;
  v_counts jsonb := '{"enriched": 0, "stale": 0, "gone": 0, "failed": 0}'::jsonb;
begin
  -- alter_pipeline waits for this slice: no newer version comes to be while it is written.
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = batch.pipeline_id for key share;
  v_is_old := batch.pipeline_version < v_pipeline.version;

  if not exists (select from pg_class as c where c.oid = v_pipeline.source)
    or not exists (select from pg_class as c where c.oid = v_pipeline.target) then
    with taken as (
      delete from rowmill.chunk_rows as t
      using jsonb_to_recordset(write_answers.answers) as r(c bigint, n integer)
      where t.chunk_id = any (write_answers.chunk_ids) and t.chunk_id = r.c and t.n = r.n
      returning t.n
    )
    select v_counts || jsonb_build_object('gone', count(*)) into strict v_counts from taken;
    return v_counts;
  end if;

  if v_is_old and rowmill.structure_problem(v_pipeline.id, batch.pipeline_version) is not null then
    -- A column that the newer version does without was dropped: nobody will mend the older one.
    with taken as (
      delete from rowmill.chunk_rows as t
      using jsonb_to_recordset(write_answers.answers) as r(c bigint, n integer, h text)
      where t.chunk_id = any (write_answers.chunk_ids) and t.chunk_id = r.c and t.n = r.n and t.hash = r.h
      returning t.key
    ), queued as (
      insert into rowmill.pending_keys (pipeline_id, keys, row_count, only_missing)
      select v_pipeline.id, jsonb_agg(t.key), count(*), true from taken as t having count(*) > 0
    )
    select v_counts || jsonb_build_object('stale', count(*)) into strict v_counts from taken;
    return v_counts;
  end if;

  if v_pipeline.version > 1 then
    -- Locked before the rows of the table, which an answer of another version may be about to write, and all at once,
    -- since a slice may be written in halves. The entries that are missing come as what their absence means.
    insert into rowmill.row_versions as v (pipeline_id, key, version)
    select v_pipeline.id, h.key, 1
    from (
      select distinct on (md5(t.key::text)) t.key
      from (
        select t.key
        from rowmill.chunk_rows as t
        join jsonb_to_recordset(write_answers.answers) as r(c bigint, n integer, h text)
          on t.chunk_id = r.c and t.n = r.n and t.hash = r.h
        where t.chunk_id = any (write_answers.chunk_ids)
        order by md5(t.key::text)
        for update of t
      ) as t
      order by md5(t.key::text)
    ) as h
    on conflict (pipeline_id, md5(key::text)) do update set version = v.version where false;
  end if;
  if v_is_old then
    with refused as (
      delete from rowmill.chunk_rows as t
      using jsonb_to_recordset(write_answers.answers) as r(c bigint, n integer, h text), rowmill.row_versions as v
      where t.chunk_id = any (write_answers.chunk_ids) and t.chunk_id = r.c and t.n = r.n and t.hash = r.h
      and v.pipeline_id = v_pipeline.id and md5(v.key::text) = md5(t.key::text) and v.version > batch.pipeline_version
      returning t.n
    )
    select count(*) into strict v_refused from refused;
    -- What an older version fills, the newer may read: then its answer is an edit like any other.
    v_old := rowmill.definition_of(v_pipeline.id, batch.pipeline_version);
    if v_pipeline.target = v_pipeline.source and exists (
      select
      from jsonb_array_elements(v_old.outputs || v_old.provenance) as o
      join jsonb_array_elements(v_pipeline.inputs || v_pipeline.filter_columns) as i on i.value -> 'attnum' = o.value -> 'attnum'
    ) then
      perform set_config('rowmill.applying', '', true);
    end if;
  end if;

  v_counts := rowmill.write_slice(
    batch, write_answers.chunk_ids, rowmill.source_parts_of(v_pipeline.id, batch.pipeline_version), write_answers.answers,
    write_answers.heals, write_answers.queue_position, v_pipeline.version > 1
  );
  return v_counts || jsonb_build_object('stale', (v_counts ->> 'stale')::integer + v_refused);
end;
$$;
comment on function rowmill.write_answers is
   'Writes the answers of a batch under its version, and settles their rows in flight. One for a row that a newer version has answered is refused, and counts as stale. Returns {"enriched","stale","gone","failed"}.';
revoke all on function rowmill.write_answers from public;
