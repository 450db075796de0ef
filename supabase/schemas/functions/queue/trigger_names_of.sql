-- API: internal
create or replace function rowmill.trigger_names_of(pipeline_id bigint)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(quote_ident(rowmill.column_name(p.source, k.attnum)), ', ' order by k.place)
  from rowmill.pipelines as p
  cross join lateral unnest(p.key_columns) with ordinality as k(attnum, place)
  where p.id = trigger_names_of.pipeline_id;
$$;
comment on function rowmill.trigger_names_of is
  'The column names that a pipeline''s trigger functions contain, as they are today.';
revoke all on function rowmill.trigger_names_of from public;
