-- Who may do what: nobody too much, nobody too little. Workers need not stop.

-- API: internal
create function rowmill.examine_grants()
returns rowmill.finding
language plpgsql
stable
set search_path = ''
as $$
declare
  v_found text[];
  v_remedies text[];
begin
  -- What such a role inherits counts as well; 0 is PUBLIC.
  with outsiders as (
    select 0::oid as role, 'public' as name
    union all
    select r.oid, r.rolname from pg_roles as r where r.rolname in ('anon', 'authenticated')
  ), granted as (
    select g.thing, g.kind, a.grantee, a.privilege_type
    from (
      select p.oid::regprocedure::text as thing, 'function' as kind, coalesce(p.proacl, acldefault('f', p.proowner)) as acl
      from pg_proc as p where p.pronamespace = 'rowmill'::regnamespace
      union all
      select c.oid::regclass::text, case c.relkind when 'S' then 'sequence' else 'table' end, c.relacl
      from pg_class as c where c.relnamespace = 'rowmill'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S')
      union all
      select c.oid::regclass::text, 'table', t.attacl
      from pg_attribute as t join pg_class as c on c.oid = t.attrelid where c.relnamespace = 'rowmill'::regnamespace and t.attacl is not null
      union all
      select n.nspname, 'schema', n.nspacl from pg_namespace as n where n.nspname = 'rowmill'
    ) as g
    cross join lateral aclexplode(g.acl) as a
  ), too_much as (
    select o.name as outsider, g.kind, g.thing, case when g.grantee = 0 then 'public' else quote_ident(r.rolname) end as grantee,
      string_agg(distinct lower(g.privilege_type), ', ') as privileges
    from granted as g
    join outsiders as o on g.grantee = o.role or (o.role <> 0 and g.grantee <> 0 and pg_has_role(o.role, g.grantee, 'usage'))
    left join pg_roles as r on r.oid = g.grantee
    group by 1, 2, 3, 4
  )
  select
    array_agg(format('%s: %s on %s', t.outsider, t.privileges, t.thing) order by t.kind, t.thing, t.outsider),
    array_agg(distinct format('revoke all on %s %s from %s;', t.kind, t.thing, t.grantee))
  into v_found, v_remedies
  from too_much as t;
  if v_found is null then
    return row('ok', 'nothing of schema rowmill is open to public, anon or authenticated', null)::rowmill.finding;
  end if;
  return row('fault', rowmill.first_few(v_found), array_to_string(v_remedies, ' '))::rowmill.finding;
end;
$$;
comment on function rowmill.examine_grants() is 'Whether functions, tables, views, sequences and the schema are closed to public, anon and authenticated.';
revoke all on function rowmill.examine_grants() from public;

-- API: internal
create function rowmill.examine_worker_role()
returns rowmill.finding
language plpgsql
stable
set search_path = ''
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
    return row('note', 'there is no role rowmill_worker: workers connect as the owner', 'create role rowmill_worker nologin; select rowmill.grant_to_workers();')::rowmill.finding;
  end if;
  if cardinality(v_found) > 0 then
    return row('fault', rowmill.first_few(v_found), array_to_string(v_remedies, ' '))::rowmill.finding;
  end if;
  return row('ok', format('%s may call what a worker calls, and nothing else', array_to_string(v_roles, ' and ')), null)::rowmill.finding;
end;
$$;
comment on function rowmill.examine_worker_role() is 'Whether rowmill_worker, and service_role where there is one, may call exactly the worker''s functions.';
revoke all on function rowmill.examine_worker_role() from public;

-- API: internal
create function rowmill.examine_table_rights()
returns rowmill.finding
language plpgsql
stable
set search_path = ''
as $$
declare
  v_wanted record;
  v_found text[] := '{}'::text[];
  v_remedies text[] := '{}'::text[];
begin
  for v_wanted in
    with columns as (
      select p.source as relation, 'select' as privilege, k.attnum
      from rowmill.pipelines as p
      cross join lateral (
        select unnest(p.key_columns)
        union select (i.value ->> 'attnum')::smallint from jsonb_array_elements(p.inputs || p.filter_columns) as i
      ) as k(attnum)
      where p.state <> 'dropped'
      union
      select p.target, r.privilege, k.attnum
      from rowmill.pipelines as p
      cross join lateral (
        select 'update' as privilege union all select 'select' union all select 'insert' where p.target <> p.source
      ) as r
      cross join lateral (
        select (o.value ->> 'attnum')::smallint from jsonb_array_elements(p.outputs || p.provenance) as o
        union select unnest(p.target_key_columns) where r.privilege <> 'update'
      ) as k(attnum)
      where p.state <> 'dropped'
    )
    select c.oid::regclass as relation, x.privilege,
      string_agg(quote_ident(a.attname), ', ' order by a.attnum) filter (where not has_column_privilege(c.oid, a.attnum, x.privilege)) as missing,
      n.nspname as schema, has_schema_privilege(n.oid, 'usage') as is_open
    from columns as x
    join pg_class as c on c.oid = x.relation
    join pg_namespace as n on n.oid = c.relnamespace
    join pg_attribute as a on a.attrelid = c.oid and a.attnum = x.attnum and not a.attisdropped
    group by c.oid, x.privilege, n.oid, n.nspname
    order by c.oid::regclass::text, x.privilege
  loop
    if not v_wanted.is_open then
      v_found := v_found || format('%s may not use schema %s', current_user, v_wanted.schema);
      v_remedies := v_remedies || format('grant usage on schema %I to %I;', v_wanted.schema, current_user);
    elsif v_wanted.missing is not null then
      v_found := v_found || format('%s may not %s %s of %s', current_user, v_wanted.privilege, v_wanted.missing, v_wanted.relation);
      v_remedies := v_remedies || format('grant %s (%s) on %s to %I;', v_wanted.privilege, v_wanted.missing, v_wanted.relation, current_user);
    end if;
  end loop;

  -- Behind row level security rows would be missing without a word.
  for v_wanted in
    select distinct c.oid::regclass as relation, pg_has_role(c.relowner, 'usage') as is_ours
    from rowmill.pipelines as p
    join pg_class as c on c.oid in (p.source, p.target)
    where p.state <> 'dropped' and row_security_active(c.oid)
    order by 1
  loop
    v_found := v_found || case
      when v_wanted.is_ours then format('row level security of %s is forced, and %s sees only what its policies show', v_wanted.relation, current_user)
      else format('row level security of %s hides rows from %s, who is not its owner', v_wanted.relation, current_user)
    end;
    v_remedies := v_remedies || case
      when v_wanted.is_ours then format('alter table %s no force row level security;', v_wanted.relation)
      else format('alter role %I bypassrls;', current_user)
    end;
  end loop;
  if cardinality(v_found) > 0 then
    return row('fault', rowmill.first_few(v_found), array_to_string(v_remedies, ' '))::rowmill.finding;
  end if;
  return row('ok', format('%s may read every source and write every output', current_user), null)::rowmill.finding;
end;
$$;
comment on function rowmill.examine_table_rights() is 'Whether Rowmill''s owner may read what prompts name and write the outputs, in all rows of the tables.';
revoke all on function rowmill.examine_table_rights() from public;
