-- API: internal
create or replace function rowmill.key_elements(pipeline_id bigint, rows_name text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(rowmill.key_element(key_elements.rows_name, a.attname, a.atttypid), ', ' order by k.place)
  from rowmill.pipelines as p
  cross join lateral unnest(p.key_columns) with ordinality as k(attnum, place)
  join pg_attribute as a on a.attrelid = p.source and a.attnum = k.attnum
  where p.id = key_elements.pipeline_id;
$$;
comment on function rowmill.key_elements is
  'The expressions of a pipeline''s key, in the order of its columns and with commas between them, of rows that go by "rows_name".';
revoke all on function rowmill.key_elements from public;
