-- API: internal
create or replace function rowmill.examine_leases()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_chunks bigint;
  v_rows bigint;
  v_oldest timestamptz;
begin
  select count(*), sum(c.row_count), min(c.lease_until) into strict v_chunks, v_rows, v_oldest
  from rowmill.pipelines as p
  join rowmill.chunks as c on c.pipeline_id = p.id
  where c.state in ('waiting', 'accepted') and c.state = 'accepted' and c.lease_until < now() - interval '1 minute';
  if v_chunks = 0 then
    return row('ok', 'no dead worker holds rows', null)::rowmill.finding;
  end if;
  return row(
    'warning',
    format('%s rows stand in %s chunks of workers that are gone, the first since %s', v_rows, v_chunks, rowmill.ago(v_oldest)),
    'select rowmill.tick();'
  )::rowmill.finding;
end;
$$;
comment on function rowmill.examine_leases is
  'Rows under leases that ran out a minute ago and were not released, which is the tick''s to do.';
revoke all on function rowmill.examine_leases from public;
