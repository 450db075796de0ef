-- A post that cannot be made (a closed pg_net, a secret that Vault cannot read) no longer undoes the chunk that it was
-- for: workers fetch it. Workers need not stop.

-- API: internal
create or replace function rowmill.tick_pipeline(pipeline_id bigint, max_chunks integer)
returns jsonb
language plpgsql
set search_path = ''
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

-- API: public
create or replace function rowmill.flush(pipeline text)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_chunk_id bigint;
  v_formed integer := 0;
begin
  if v_pipeline.state <> 'active' then
    raise exception using errcode = 'RM112', message = format('pipeline "%s" is %s', v_pipeline.name, v_pipeline.state),
      detail = coalesce(v_pipeline.state_reason, 'It was paused by hand.'), hint = format('select rowmill.resume_pipeline(%L);', v_pipeline.name);
  end if;
  loop
    v_chunk_id := rowmill.form_chunk(v_pipeline.id, true);
    exit when v_chunk_id is null;
    begin
      perform rowmill.post_chunk(v_chunk_id);
    exception when others then
      raise warning 'chunk % could not be posted, a worker fetches it: %', v_chunk_id, sqlerrm;
    end;
    v_formed := v_formed + 1;
  end loop;
  return v_formed;
end;
$$;
