-- API: internal
create or replace function rowmill.examine_table_rights()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
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
comment on function rowmill.examine_table_rights is
  'Whether Rowmill''s owner may read what prompts name and write the outputs, in all rows of the tables.';
revoke all on function rowmill.examine_table_rights from public;
