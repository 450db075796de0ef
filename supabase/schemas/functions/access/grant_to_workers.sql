-- API: internal
create or replace function rowmill.grant_to_workers()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_function record;
  v_role text;
begin
  for v_function in
    select p.oid::regprocedure as signature, p.oid in (select w.signature from rowmill.worker_functions() as w(signature)) as is_workers
    from pg_catalog.pg_proc as p
    where p.pronamespace = 'rowmill'::regnamespace
    order by p.oid
  loop
    if v_function.is_workers then
      -- The Data API gives a statement 8 seconds, and more only where the function says so. On a connection of one's own
      -- this does nothing: a running statement's time is not changed from within.
      execute format('alter function %s set statement_timeout = ''50s''', v_function.signature);
    end if;
    -- Either may be missing: a server that lets nobody create roles, one that is no Supabase.
    for v_role in
      select r.rolname from pg_catalog.pg_roles as r where r.rolname in ('rowmill_worker', 'service_role')
    loop
      if v_function.is_workers then
        execute format('grant execute on function %s to %I', v_function.signature, v_role);
      elsif pg_catalog.has_function_privilege(v_role, v_function.signature::oid, 'execute') then
        execute format('revoke execute on function %s from %I', v_function.signature, v_role);
      end if;
    end loop;
  end loop;
  for v_role in
    select r.rolname from pg_catalog.pg_roles as r where r.rolname in ('rowmill_worker', 'service_role')
  loop
    execute format('grant usage on schema rowmill to %I', v_role);
  end loop;
end;
$$;
comment on function rowmill.grant_to_workers is
  'Lets rowmill_worker and service_role, as far as they exist, call the worker''s functions and nothing else of schema rowmill. '
  'Repeats harmlessly.';
revoke all on function rowmill.grant_to_workers from public;
