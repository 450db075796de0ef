-- API: internal
create or replace function rowmill.add_target_parts(
  parts rowmill.source_parts, -- as add_output_parts leaves them
  definition rowmill.pipelines
)
returns rowmill.source_parts
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts rowmill.source_parts := parts;
  v_match text;
begin
  select
    string_agg(format('s.%I as k%s', a.attname, k.place - 1), ', ' order by k.place),
    string_agg(format('%I', t.attname), ', ' order by k.place),
    string_agg(format('w.k%s', k.place - 1), ', ' order by k.place) || ', ' || v_parts.target_values,
    string_agg(format('f.%I operator(pg_catalog.=) s.%I', t.attname, a.attname), ' and ' order by k.place)
  into strict v_parts.key_columns, v_parts.target_keys, v_parts.target_values, v_match
  from unnest(definition.key_columns, definition.target_key_columns) with ordinality as k(attnum, target_attnum, place)
  join pg_attribute as a on a.attrelid = definition.source and a.attnum = k.attnum
  join pg_attribute as t on t.attrelid = definition.target and t.attnum = k.target_attnum;
  v_parts.target := definition.target::text;
  v_parts.target_columns := v_parts.target_keys || ', ' || v_parts.target_columns;
  v_parts.missing := format('not exists (select from %s as f where %s and not (%s))', v_parts.target, v_match, v_parts.missing);
  -- (null where there is none)
  v_parts.version_at := '(select ' || v_parts.version_at || format(' from %s as f where %s)', v_parts.target, v_match);
  return v_parts;
end;
$$;
comment on function rowmill.add_target_parts is
  'The parts of a pipeline that fills a table other than its source: with the target and its keys, and with missing and version_at '
  'looked up there for a row of the source.';
revoke all on function rowmill.add_target_parts from public;
