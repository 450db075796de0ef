-- API: internal
create or replace function rowmill.examine_worker_role()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_role name;
  v_roles text[] := '{}'::text[];
  v_found text[] := '{}'::text[];
  v_remedies text[] := '{}'::text[];
  v_functions text[];
begin
  for v_role in
    select r.rolname from pg_roles as r where r.rolname in ('rowmill_worker', 'service_role') order by r.rolname
  loop
    v_roles := v_roles || v_role::text;
    if not has_schema_privilege(v_role, 'rowmill', 'usage') then
      v_found := v_found || format('%s may not use schema rowmill', v_role);
      v_remedies := v_remedies || format('grant usage on schema rowmill to %I;', v_role);
    end if;
    v_functions := array(
      select w.oid::text from rowmill.worker_functions() as w(oid) where not has_function_privilege(v_role, w.oid, 'execute') order by 1
    );
    if cardinality(v_functions) > 0 then
      v_found := v_found || format('%s may not call %s', v_role, rowmill.first_few(v_functions, ', '));
      v_remedies := v_remedies || format('grant execute on function %s to %I;', array_to_string(v_functions, ', '), v_role);
    end if;
    -- A superuser may do anything, and so may whoever owns it all.
    continue when pg_has_role(v_role, (select n.nspowner from pg_namespace as n where n.nspname = 'rowmill'), 'usage');
    v_functions := array(
      select p.oid::regprocedure::text
      from pg_proc as p
      where p.pronamespace = 'rowmill'::regnamespace
      and has_function_privilege(v_role, p.oid, 'execute')
      and not exists (select from rowmill.worker_functions() as w(oid) where w.oid = p.oid)
      order by 1
    );
    if cardinality(v_functions) > 0 then
      v_found := v_found || format('%s may call more than a worker needs: %s', v_role, rowmill.first_few(v_functions, ', '));
      v_remedies := v_remedies || format('revoke all on function %s from %I, public;', array_to_string(v_functions, ', '), v_role);
    end if;
  end loop;
  if cardinality(v_roles) = 0 then
    return row(
      'note', 'there is no role rowmill_worker: workers connect as the owner',
      'create role rowmill_worker nologin; select rowmill.grant_to_workers();'
    )::rowmill.finding;
  end if;
  if cardinality(v_found) > 0 then
    return row('fault', rowmill.first_few(v_found), array_to_string(v_remedies, ' '))::rowmill.finding;
  end if;
  return row('ok', format('%s may call what a worker calls, and nothing else', array_to_string(v_roles, ' and ')), null)::rowmill.finding;
end;
$$;
comment on function rowmill.examine_worker_role is
  'Whether rowmill_worker, and service_role where there is one, may call exactly the worker''s functions.';
revoke all on function rowmill.examine_worker_role from public;
