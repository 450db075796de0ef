-- API: internal
create or replace function rowmill.tick_pipeline(pipeline_id bigint, max_chunks integer)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms' -- a trigger waits for whoever writes to its table, and all other writers behind it
as $$
declare
  v_pipeline rowmill.pipelines;
  v_triggers record;
  v_chunks record;
  v_queued integer;
  v_problem text;
begin
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = tick_pipeline.pipeline_id;
  v_problem := rowmill.structure_problem(v_pipeline.id);
  if v_problem is not null then
    raise exception using errcode = 'RM201', message = v_problem;
  end if;
  v_triggers := rowmill.bring_triggers_up(v_pipeline);
  if v_triggers.has_attached then
    -- The table is locked against writers until this transaction ends, so it ends now.
    return jsonb_build_object('queued', 0, 'formed', 0, 'posted', 0, 'more', true, 'has_attached', true);
  end if;
  v_queued := rowmill.queue_kept_keys(v_pipeline.id) + rowmill.backfill_slice(v_pipeline.id, 10000);
  v_chunks := rowmill.form_chunks(v_pipeline, tick_pipeline.max_chunks);
  return jsonb_build_object(
    'queued', v_queued,
    'formed', v_chunks.formed,
    'posted', v_chunks.posted,
    'more', v_chunks.formed = tick_pipeline.max_chunks or v_queued > 0,
    'problem', v_triggers.problem
  );
end;
$$;
comment on function rowmill.tick_pipeline is
  'Takes one pipeline forward: renames, new partitions and BEFORE triggers, keys that triggers kept, a slice of a '
  'backfill, up to max_chunks chunks. '
  'has_attached: a table is locked, and the caller must end its transaction. Raises what is wrong with the pipeline.';
revoke all on function rowmill.tick_pipeline from public;
