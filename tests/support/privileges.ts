import type postgres from 'postgres';

/**
 * Who may do what in schema rowmill, one line for each thing, sorted. The owner, by whatever name, is "owner"; rights that
 * Postgres takes for granted are spelled out as if they had been given. Roles that the server lacks are not in it, and
 * neither is MAINTAIN, which came with Postgres 17.
 */
export async function privilegesOf(sql: postgres.Sql): Promise<string> {
  const rows = await sql<{ thing: string; rights: string }[]>`
    with things as (
      select 'schema rowmill' as thing, 1 as place, n.nspowner as owner, coalesce(n.nspacl, acldefault('n', n.nspowner)) as acl
      from pg_namespace as n where n.nspname = 'rowmill'
      union all
      select
        case c.relkind when 'S' then 'sequence ' when 'v' then 'view ' else 'table ' end || c.relname,
        2, c.relowner, coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's' else 'r' end::"char", c.relowner))
      from pg_class as c
      where c.relnamespace = 'rowmill'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
      union all
      select 'column ' || c.relname || '.' || a.attname, 2, c.relowner, a.attacl
      from pg_class as c join pg_attribute as a on a.attrelid = c.oid
      where c.relnamespace = 'rowmill'::regnamespace and a.attacl is not null
      union all
      select
        'function ' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
        3, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
      from pg_proc as p where p.pronamespace = 'rowmill'::regnamespace
    ), rights as (
      select t.place, t.thing, case x.grantee when 0 then 'public' when t.owner then 'owner' else x.grantee::regrole::text end as who,
        lower(x.privilege_type) || case when x.is_grantable then ' with grant option' else '' end as what
      from things as t cross join lateral aclexplode(t.acl) as x
      where x.privilege_type <> 'MAINTAIN'
    ), whose as (
      select r.place, r.thing, r.who, string_agg(r.what, ', ' order by r.what) as what
      from (select distinct r.place, r.thing, r.who, r.what collate "C" as what from rights as r) as r
      group by r.place, r.thing, r.who
    )
    select w.thing,
      string_agg(w.who || ': ' || w.what, '; ' order by w.who <> 'owner', w.who collate "C") as rights
    from whose as w
    group by w.place, w.thing
    order by w.place, w.thing collate "C"`;
  return `${rows.map(({ thing, rights }) => `${thing} | ${rights}`).join('\n')}\n`;
}
