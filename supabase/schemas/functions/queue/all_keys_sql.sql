-- API: internal
create or replace function rowmill.all_keys_sql(pipeline_id bigint, rows_name text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select format(
    'select jsonb_agg(jsonb_build_array(%s)) from %s as s',
    string_agg(rowmill.key_element('s', a.attname, a.atttypid), ', ' order by k.place), all_keys_sql.rows_name
  )
  from rowmill.pipelines as p
  cross join lateral unnest(p.key_columns) with ordinality as k(attnum, place)
  join pg_attribute as a on a.attrelid = p.source and a.attnum = k.attnum
  where p.id = all_keys_sql.pipeline_id;
$$;
comment on function rowmill.all_keys_sql is 'The statement that reads the keys of a transition table, or of any rows given as "rows_name".';
revoke all on function rowmill.all_keys_sql from public;
