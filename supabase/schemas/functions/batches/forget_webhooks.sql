-- API: internal
create or replace function rowmill.forget_webhooks()
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_forgotten integer;
begin
  delete from rowmill.webhook_events as e
  where e.id = any (array(
    select o.id
    from rowmill.webhook_events as o
    where o.received_at < now() - interval '7 days'
    order by o.received_at
    limit 1000
    for update skip locked
  ));
  get diagnostics v_forgotten = row_count;
  return v_forgotten;
end;
$$;
comment on function rowmill.forget_webhooks is
  'Forgets a thousand webhooks that came more than seven days ago; returns how many those were. Two at once take different ones.';
revoke all on function rowmill.forget_webhooks from public;
