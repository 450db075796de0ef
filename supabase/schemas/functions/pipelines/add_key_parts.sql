-- API: internal
create or replace function rowmill.add_key_parts(parts rowmill.source_parts, definition rowmill.pipelines)
returns rowmill.source_parts
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts rowmill.source_parts := parts;
begin
  -- A key travels as JSON and comes back through the text of its type.
  select
    string_agg(
      format('s.%I operator(pg_catalog.=) (k.key ->> %s)::%s', a.attname, k.place - 1, format_type(a.atttypid, a.atttypmod)),
      ' and ' order by k.place
    ),
    string_agg(format('s.%I', a.attname), ', ' order by k.place),
    format('pg_catalog.jsonb_build_array(%s)', string_agg(rowmill.key_element('s', a.attname, a.atttypid), ', ' order by k.place))
  into strict v_parts.key_match, v_parts.key_list, v_parts.key_value
  from unnest(definition.key_columns) with ordinality as k(attnum, place)
  join pg_attribute as a on a.attrelid = definition.source and a.attnum = k.attnum;
  return v_parts;
end;
$$;
comment on function rowmill.add_key_parts is
  'The parts, with those that find a row of the source by its key, and that read its key (key_match, key_value, key_list).';
revoke all on function rowmill.add_key_parts from public;
