-- API: internal
create or replace function rowmill.untrusted_in(schema text, names text[])
returns text[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with things as (
    select 1 as place, n.nspname::text as name, format('schema %I', n.nspname) as thing, n.nspowner as owner
    from pg_namespace as n
    where n.nspname = untrusted_in.schema and not rowmill.is_trusted_object('pg_namespace', n.oid, n.nspowner)
    union all
    select 2, c.relname, format('%s %s', case c.relkind when 'v' then 'view' else 'table' end, c.oid::regclass), c.relowner
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = untrusted_in.schema and c.relname = any (untrusted_in.names)
    and not rowmill.is_trusted_object('pg_class', c.oid, c.relowner)
    union all
    select 3, p.proname, format('function %s', p.oid::regprocedure), p.proowner
    from pg_proc as p
    join pg_namespace as n on n.oid = p.pronamespace
    where n.nspname = untrusted_in.schema and p.proname = any (untrusted_in.names)
    and not rowmill.is_trusted_object('pg_proc', p.oid, p.proowner)
    union all
    select 4, t.tgname, format('trigger %I on %s', t.tgname, c.oid::regclass), p.proowner
    from pg_trigger as t
    join pg_class as c on c.oid = t.tgrelid
    join pg_namespace as n on n.oid = c.relnamespace
    join pg_proc as p on p.oid = t.tgfoid
    where n.nspname = untrusted_in.schema and c.relname = any (untrusted_in.names)
    and not rowmill.is_trusted_object('pg_proc', p.oid, p.proowner)
  )
  select array_agg(format('%s of %I', t.thing, pg_get_userbyid(t.owner)) order by t.place, t.name, t.thing)
  from things as t;
$$;
comment on function rowmill.untrusted_in is
  'The schema, and the relations, functions and triggers of these names in it, that are not trusted (see is_trusted_object), '
  'each with its owner; null where there is none.';
revoke all on function rowmill.untrusted_in from public;
