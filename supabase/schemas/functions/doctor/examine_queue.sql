-- API: internal
create or replace function rowmill.examine_queue()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found text[];
  v_waits text[];
begin
  -- One look into an index for each pipeline and kind, however much is queued.
  select
    array_agg(f.said order by f.at) filter (where f.reason is null and f.at < now() - f.patience),
    array_agg(f.reason order by f.at) filter (where f.reason is not null)
  into v_found, v_waits
  from (
    select c.formed_at as at, s.fetch_after + interval '5 minutes' as patience, format('"%s": ', p.name) || c.wait_reason as reason,
      format('the oldest chunk of "%s" was formed %s and no worker took it, though after %s any may',
        p.name, rowmill.ago(c.formed_at), s.fetch_after) as said
    from rowmill.pipelines as p
    cross join rowmill.settings as s
    cross join lateral (
      select c.formed_at, c.wait_reason from rowmill.chunks as c
      where c.pipeline_id = p.id and c.state in ('waiting', 'accepted') order by c.id limit 1
    ) as c
    where p.state = 'active'
    union all
    select k.queued_at, p.flush_after + interval '5 minutes', null,
      format('the oldest rows of "%s" were queued %s and are in no chunk, though they are grouped after %s',
        p.name, rowmill.ago(k.queued_at), p.flush_after)
    from rowmill.pipelines as p
    cross join lateral (
      select k.queued_at from rowmill.pending_keys as k
      where k.pipeline_id = p.id and k.queued_at <= now() order by k.id limit 1
    ) as k
    where p.state = 'active'
  ) as f;
  return case
    when v_found is not null then row(
      'warning', rowmill.first_few(v_found), 'Start a worker, or another one. Where one runs, see pipelines and the worker''s log.'
    )::rowmill.finding
    when v_waits is not null then row(
      'note', 'rows wait for room: ' || rowmill.first_few(v_waits),
      'They go on by themselves; select name, waiting_reason from rowmill.pipeline_status;'
    )::rowmill.finding
    else row('ok', 'nothing waits for too long', null)::rowmill.finding
  end;
end;
$$;
comment on function rowmill.examine_queue is
  'Chunks that wait for more than settings.fetch_after and 5 minutes, rows that wait for more than flush_after and 5 minutes.';
revoke all on function rowmill.examine_queue from public;
