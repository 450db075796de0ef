-- API: internal
create or replace function rowmill.tick_pipeline(pipeline_id bigint, max_chunks integer)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms' -- a trigger waits for whoever writes to its table, and all other writers behind it
as $$
declare
  v_pipeline rowmill.pipelines;
  v_chunk_id bigint;
  v_formed integer := 0;
  v_posted integer := 0;
  v_queued integer := 0;
  v_problem text;
begin
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = tick_pipeline.pipeline_id;
  v_problem := rowmill.structure_problem(v_pipeline.id);
  if v_problem is not null then
    raise exception using errcode = 'RM201', message = v_problem;
  end if;

  begin
    if v_pipeline.trigger_names <> rowmill.trigger_names_of(v_pipeline.id) then
      perform rowmill.write_trigger_functions(v_pipeline.id);
    end if;
    if rowmill.triggers_are_behind(v_pipeline.id) and rowmill.attach_triggers(v_pipeline.id) > 0 then
      -- The table is locked against writers until this transaction ends, so it ends now.
      return jsonb_build_object('queued', 0, 'formed', 0, 'posted', 0, 'more', true, 'has_attached', true);
    end if;
  exception
    when lock_not_available then
      null; -- somebody writes; the next tick tries again
    when insufficient_privilege then
      v_problem := format('its triggers could not be brought up to date: %s; drop_pipeline(%L) and create it again as the owner of both', sqlerrm, v_pipeline.name);
  end;

  v_queued := rowmill.backfill_slice(v_pipeline.id, 10000);
  while v_formed < tick_pipeline.max_chunks loop
    v_chunk_id := rowmill.form_chunk(v_pipeline.id, false);
    if v_chunk_id is null and exists (
      select
      from rowmill.pending_keys as k
      where k.pipeline_id = v_pipeline.id
      and k.queued_at <= clock_timestamp() - v_pipeline.flush_after
    ) then
      v_chunk_id := rowmill.form_chunk(v_pipeline.id, true);
    end if;
    exit when v_chunk_id is null;
    v_formed := v_formed + 1;
    begin
      if rowmill.post_chunk(v_chunk_id) then
        v_posted := v_posted + 1;
      end if;
    exception when others then
      null; -- the chunk stands; the tick tries once more below and says what is wrong
    end;
  end loop;
  return jsonb_build_object('queued', v_queued, 'formed', v_formed, 'posted', v_posted, 'more', v_formed = tick_pipeline.max_chunks or v_queued > 0, 'problem', v_problem);
end;
$$;
comment on function rowmill.tick_pipeline is
  'Takes one pipeline forward: renames, new partitions and BEFORE triggers, a slice of a backfill, up to max_chunks chunks. has_attached: a table is locked, and the caller must end its transaction. Raises what is wrong with the pipeline.';
revoke all on function rowmill.tick_pipeline from public;
