-- API: internal
create or replace function rowmill.lacking_rights()
returns table (found text, remedy text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
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
  ), relations as (
    select c.oid::regclass as relation, x.privilege,
      string_agg(quote_ident(a.attname), ', ' order by a.attnum)
        filter (where not has_column_privilege(c.oid, a.attnum, x.privilege)) as missing,
      n.nspname as schema, has_schema_privilege(n.oid, 'usage') as is_open
    from columns as x
    join pg_class as c on c.oid = x.relation
    join pg_namespace as n on n.oid = c.relnamespace
    join pg_attribute as a on a.attrelid = c.oid and a.attnum = x.attnum and not a.attisdropped
    group by c.oid, x.privilege, n.oid, n.nspname
  )
  select
    case when r.is_open then format('%s may not %s %s of %s', current_user, r.privilege, r.missing, r.relation)
      else format('%s may not use schema %s', current_user, r.schema) end,
    case when r.is_open then format('grant %s (%s) on %s to %I;', r.privilege, r.missing, r.relation, current_user)
      else format('grant usage on schema %I to %I;', r.schema, current_user) end
  from relations as r
  where not r.is_open or r.missing is not null
  order by r.relation::text, r.privilege;
$$;
comment on function rowmill.lacking_rights is
  'What Rowmill''s owner may not do with the columns that pipelines read and write, and what allows it.';
revoke all on function rowmill.lacking_rights from public;
