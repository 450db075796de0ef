-- API: internal
create or replace function rowmill.release_expired_leases()
returns integer
language sql
set search_path = pg_catalog, pg_temp
as $$
  with expired as (
    update rowmill.chunks as c
    set state = 'waiting', owner = null, lease_until = null
    where c.state = 'accepted' and c.lease_until < now()
    returning c.id
  ), let_go as (
    delete from rowmill.chunk_rows as r using expired as e where r.chunk_id = e.id
  )
  select count(*)::integer from expired;
$$;
comment on function rowmill.release_expired_leases is
  'Takes chunks back from workers that fell silent; returns how many.';
revoke all on function rowmill.release_expired_leases from public;
