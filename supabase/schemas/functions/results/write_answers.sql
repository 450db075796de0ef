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
  v_parts rowmill.source_parts;
  v_refused integer := 0;
  v_counts jsonb := '{"enriched": 0, "stale": 0, "gone": 0, "failed": 0}'::jsonb;
begin
  -- alter_pipeline waits for this slice: no newer version comes to be while it is written.
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = batch.pipeline_id for key share;

  if not exists (select from pg_class as c where c.oid = v_pipeline.source)
    or not exists (select from pg_class as c where c.oid = v_pipeline.target) then
    return v_counts || jsonb_build_object('gone', rowmill.let_go_of_rows(write_answers.chunk_ids, write_answers.answers));
  end if;
  -- Nobody adds a trigger between the look at whose code would run (source_parts_of) and the write.
  execute format('lock table %s in row exclusive mode', v_pipeline.target);

  if batch.pipeline_version < v_pipeline.version and rowmill.structure_problem(v_pipeline.id, batch.pipeline_version) is not null
    and rowmill.structure_problem(v_pipeline.id) is null then
    -- A column that the newer version does without was dropped: nobody will repair the older one.
    return v_counts || jsonb_build_object(
      'stale', rowmill.return_rows(v_pipeline.id, write_answers.chunk_ids, write_answers.answers)
    );
  end if;
  if v_pipeline.version > 1 then
    perform rowmill.lock_row_versions(v_pipeline.id, write_answers.chunk_ids, write_answers.answers);
  end if;
  if batch.pipeline_version < v_pipeline.version then
    v_refused := rowmill.refuse_older_answers(batch, write_answers.chunk_ids, write_answers.answers);
    if rowmill.fills_inputs_of(rowmill.definition_of(v_pipeline.id, batch.pipeline_version), v_pipeline) then
      -- What an older version fills, the newer reads: its answer is an edit like any other.
      perform set_config('rowmill.applying', '', true);
    end if;
  end if;

  v_parts := rowmill.source_parts_of(v_pipeline.id, batch.pipeline_version);
  v_counts := rowmill.write_slice(batch, write_answers.chunk_ids, v_parts, write_answers.answers, rowmill.slice_sql(
    v_pipeline.id, v_parts, write_answers.heals, write_answers.queue_position, v_pipeline.version > 1
  ));
  v_counts := case when v_counts -> 'refused' = '[]' then v_counts - 'refused' else rowmill.settle_refused(batch, v_counts) end;
  return v_counts || jsonb_build_object('stale', (v_counts ->> 'stale')::integer + v_refused);
end;
$$;
comment on function rowmill.write_answers is
  'Writes the answers of a batch under its version, and settles their rows in flight. One for a row that a newer version has '
  'answered is refused, and counts as stale; one that Postgres refuses fails its row alone. Returns {"enriched", "stale", "gone", '
  '"failed"}.';
revoke all on function rowmill.write_answers from public;
