-- The heartbeat: whatever triggers and workers left, goes on here. Workers need not stop.

-- API: internal
create function rowmill.tick_pipeline(pipeline_id bigint, max_chunks integer)
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
    if rowmill.post_chunk(v_chunk_id) then
      v_posted := v_posted + 1;
    end if;
  end loop;
  return jsonb_build_object('queued', v_queued, 'formed', v_formed, 'posted', v_posted, 'more', v_formed = tick_pipeline.max_chunks or v_queued > 0, 'problem', v_problem);
end;
$$;
comment on function rowmill.tick_pipeline(bigint, integer) is 'Takes one pipeline forward: renames, new partitions and BEFORE triggers, a slice of a backfill, up to max_chunks chunks. has_attached: a table is locked, and the caller must end its transaction. Raises what is wrong with the pipeline.';
revoke all on function rowmill.tick_pipeline(bigint, integer) from public;

-- API: internal
create function rowmill.note_tick_problem(pipeline_id bigint, problem text)
returns void
language sql
set search_path = ''
as $$
  update rowmill.pipelines as p
  set
    problem = note_tick_problem.problem,
    problem_at = case when note_tick_problem.problem is not null then now() end,
    problem_by = case when note_tick_problem.problem is not null then 'tick' end
  where p.id = note_tick_problem.pipeline_id
  and p.problem is distinct from note_tick_problem.problem
  and (note_tick_problem.problem is not null or p.problem_by = 'tick');
$$;
comment on function rowmill.note_tick_problem(bigint, text) is 'What the tick found wrong, for pipeline_status; null, when it works again, clears what the tick found.';
revoke all on function rowmill.note_tick_problem(bigint, text) from public;

-- API: worker
create function rowmill.tick(max_chunks integer default 50)
returns jsonb
language plpgsql
security definer -- pg_cron and the worker call it; neither has rights on the tables
set search_path = ''
as $$
declare
  v_pipeline record;
  v_chunk record;
  v_counts jsonb;
  v_released integer;
  v_queued integer := 0;
  v_formed integer := 0;
  v_posted integer := 0;
  v_more boolean := false;
begin
  -- Two ticks at once would do no harm, and the second no good.
  if not pg_try_advisory_xact_lock(hashtextextended('rowmill.tick', 0)) then
    return jsonb_build_object('queued', 0, 'formed', 0, 'posted', 0, 'released', 0, 'more', false);
  end if;

  with expired as (
    update rowmill.chunks as c
    set state = 'waiting', owner = null, lease_until = null
    where c.state = 'accepted' and c.lease_until < now()
    returning c.id
  ), let_go as (
    delete from rowmill.chunk_rows as r using expired as e where r.chunk_id = e.id
  )
  select count(*) into strict v_released from expired;

  for v_pipeline in
    select p.id, p.problem_by
    from rowmill.pipelines as p
    where p.state = 'active'
    and (
      exists (select from rowmill.pending_keys as k where k.pipeline_id = p.id)
      or exists (select from rowmill.backfills as b where b.pipeline_id = p.id and b.finished_at is null)
      or p.trigger_names <> coalesce(rowmill.trigger_names_of(p.id), '')
      or rowmill.triggers_are_behind(p.id)
      or p.problem_by = 'tick'
      or exists (select from rowmill.trigger_errors as e where e.pipeline_id = p.id and not e.keys_lost)
    )
    order by p.id
  loop
    begin
      v_counts := rowmill.tick_pipeline(v_pipeline.id, tick.max_chunks);
      v_queued := v_queued + (v_counts ->> 'queued')::integer;
      v_formed := v_formed + (v_counts ->> 'formed')::integer;
      v_posted := v_posted + (v_counts ->> 'posted')::integer;
      v_more := v_more or (v_counts ->> 'more')::boolean;
      if v_pipeline.problem_by = 'tick' or v_counts ->> 'problem' is not null then
        perform rowmill.note_tick_problem(v_pipeline.id, v_counts ->> 'problem');
      end if;
      exit when (v_counts ->> 'has_attached')::boolean;
      delete from rowmill.trigger_errors as e where e.pipeline_id = v_pipeline.id and not e.keys_lost;
    exception when others then
      -- One broken pipeline holds up no other.
      perform rowmill.note_tick_problem(v_pipeline.id, sqlerrm);
    end;
  end loop;
  if (v_counts ->> 'has_attached')::boolean then
    return jsonb_build_object('queued', v_queued, 'formed', v_formed, 'posted', v_posted, 'released', v_released, 'more', true);
  end if;

  -- What was posted and accepted by nobody is posted again, less and less often.
  if rowmill.can_post() then
    for v_chunk in
      select c.id, c.pipeline_id
      from rowmill.chunks as c
      join rowmill.pipelines as p on p.id = c.pipeline_id
      cross join rowmill.settings as s
      where c.state = 'waiting' and p.state = 'active'
      and (c.posted_at is null or c.posted_at < now() - least(s.repost_after * power(2, least(c.posts - 1, 10)), interval '1 hour'))
      order by c.id
      limit 20
    loop
      begin
        if rowmill.post_chunk(v_chunk.id) then
          v_posted := v_posted + 1;
        end if;
      exception when others then
        perform rowmill.note_tick_problem(v_chunk.pipeline_id, 'a chunk could not be posted: ' || sqlerrm);
      end;
    end loop;
  end if;

  return jsonb_build_object('queued', v_queued, 'formed', v_formed, 'posted', v_posted, 'released', v_released, 'more', v_more);
end;
$$;
comment on function rowmill.tick(integer) is
  'Takes every pipeline forward and posts again what nobody accepted; to be called every few seconds, by any number of callers: one works, the others return at once. Returns {"queued","formed","posted","released","more"}; more: call again now. A crash undoes the tick and nothing else.';
revoke all on function rowmill.tick(integer) from public;
