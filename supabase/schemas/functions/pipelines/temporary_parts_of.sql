-- API: internal
create or replace function rowmill.temporary_parts_of(view regclass)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(distinct pg_describe_object(d.refclassid, d.refobjid, 0), ', ')
  from pg_depend as d
  join pg_rewrite as w on w.oid = d.objid
  join pg_namespace as n on n.oid = pg_my_temp_schema()
  where d.classid = 'pg_rewrite'::regclass
  and w.ev_class = temporary_parts_of.view
  and not (d.refclassid = 'pg_class'::regclass and d.refobjid = temporary_parts_of.view)
  -- Types, functions, tables, operators, collations: anything that is in a schema.
  and (pg_identify_object(d.refclassid, d.refobjid, 0)).schema = quote_ident(n.nspname);
$$;
comment on function rowmill.temporary_parts_of is
  'What of this session''s temporary schema the query of a view depends on, in words; null where nothing is.';
revoke all on function rowmill.temporary_parts_of from public;
