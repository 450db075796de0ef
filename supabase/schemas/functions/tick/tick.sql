-- API: worker
create or replace function rowmill.tick(max_chunks integer default 50)
returns jsonb
language plpgsql
security definer -- pg_cron and the worker call it; neither has rights on the tables
set search_path = pg_catalog, pg_temp
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

  delete from rowmill.answered_rows as d
  where d.ctid = any (array(
    select a.ctid
    from rowmill.answered_rows as a
    join (
      select r.pipeline_id, rowmill.oldest_unread(r.pipeline_id) as oldest
      from (select distinct r.pipeline_id from rowmill.answered_rows as r) as r
    ) as u on u.pipeline_id = a.pipeline_id
    where a.queue_position < coalesce(u.oldest, a.queue_position + 1)
    for update of a skip locked -- a worker is about to forget it
  ));

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

  for v_pipeline in
    select p.id
    from rowmill.pipelines as p
    where p.state <> 'dropped' and exists (select from rowmill.failures as f where f.pipeline_id = p.id)
    order by p.id
  loop
    begin
      perform rowmill.forget_failures(v_pipeline.id, 1000);
    exception when others then
      null; -- its table is gone or locked; what is wrong with it is said elsewhere
    end;
  end loop;

  -- What was posted and accepted by nobody is posted again, less and less often.
  if rowmill.can_post() then
    for v_chunk in
      select c.id, c.pipeline_id
      from rowmill.chunks as c
      join rowmill.pipelines as p on p.id = c.pipeline_id
      cross join rowmill.settings as s
      where c.state = 'waiting' and p.state = 'active'
      and c.waits_for is null -- its post was heard
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

  begin
    perform rowmill.forget_webhooks();
    perform rowmill.ring_workers();
  exception when others then
    null; -- neither is worth a tick; rowmill.doctor() says what is wrong with posts
  end;

  return jsonb_build_object('queued', v_queued, 'formed', v_formed, 'posted', v_posted, 'released', v_released, 'more', v_more);
end;
$$;
comment on function rowmill.tick is
   'Takes every pipeline forward and posts again what nobody accepted; to be called every few seconds, by any number of callers: one works, the others return at once. Returns {"queued","formed","posted","released","more"}; more: call again now. A crash undoes the tick and nothing else.';
revoke all on function rowmill.tick from public;
