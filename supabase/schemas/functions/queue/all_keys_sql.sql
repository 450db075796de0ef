-- API: internal
create or replace function rowmill.all_keys_sql(pipeline_id bigint, rows_name text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select format(
    'select jsonb_agg(jsonb_build_array(%s)) from %s as s',
    rowmill.key_elements(all_keys_sql.pipeline_id, 's'), all_keys_sql.rows_name
  );
$$;
comment on function rowmill.all_keys_sql is 'The statement that reads the keys of a transition table, or of any rows given as "rows_name".';
revoke all on function rowmill.all_keys_sql from public;
