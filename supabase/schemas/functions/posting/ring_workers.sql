-- API: internal
create or replace function rowmill.ring_workers()
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_settings rowmill.settings;
  v_last_ring timestamptz;
begin
  select s.* into strict v_settings from rowmill.settings as s;
  select max(p.sent_at) into v_last_ring from rowmill.pings as p where p.purpose = 'ring';
  if v_last_ring > now() - v_settings.repost_after
    or exists (select from rowmill.workers as w where w.seen_at > now() - v_settings.lease)
    or not rowmill.can_post()
  then
    return false;
  end if;
  -- Chunks that nobody accepted are posted, and so ring by themselves; this is what nobody posts.
  if exists (
    select
    from rowmill.batch_processing_details as b
    where b.state = 'running' and b.poll_at <= now()
    or b.state in ('preparing', 'harvested') and (b.lease_until is null or b.lease_until < now())
    or b.sweep_at <= now()
  ) or exists (
    -- Answers for a column that is gone wait for the operator, not for a worker.
    with ended as materialized ( -- asked once for each pipeline
      select distinct b.pipeline_id
      from rowmill.batch_processing_details as b
      where b.state = 'ended' and (b.lease_until is null or b.lease_until < now())
    )
    select from ended as e where rowmill.structure_problem(e.pipeline_id) is null
  ) then
    return rowmill.post_ping('ring') is not null;
  end if;
  -- A chunk waits for room, a budget perhaps, and nobody can say when there is some: a look now and then.
  if exists (
    select
    from rowmill.chunks as c
    join rowmill.pipelines as p on p.id = c.pipeline_id
    where c.state = 'waiting' and c.waits_for is not null and p.state = 'active'
  ) and (v_last_ring is null or v_last_ring < now() - interval '15 minutes') then
    return rowmill.post_ping('ring') is not null;
  end if;
  return false;
end;
$$;
comment on function rowmill.ring_workers is
  'Posts a ping to the endpoint where a batch or a waiting chunk wants a worker and none was seen for settings.lease, at most one '
  'every settings.repost_after (every 15 minutes for chunks that wait for room): what scales to zero is started by it. Returns '
  'whether it rang.';
revoke all on function rowmill.ring_workers from public;
