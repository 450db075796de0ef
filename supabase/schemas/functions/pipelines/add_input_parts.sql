-- API: internal
create or replace function rowmill.add_input_parts(parts rowmill.source_parts, definition rowmill.pipelines)
returns rowmill.source_parts
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts rowmill.source_parts := parts;
begin
  -- Inputs are text, so that no client rounds a number; arrays and composites as JSON, which models read well.
  -- json_build_object takes 50 pairs at most; jsonb_object takes any number. The hash is over the binary form of
  -- the values, which tells null from empty, needs no quoting, and takes half the time of hashing their JSON.
  -- Under another version the same row is another request, so that what is in flight, answered or failed under one
  -- says nothing of the next; those of the first version keep the hashes that they have.
  -- The type's category comes from a subquery: for a join Postgres reads all of pg_type.
  select
    format(
      'pg_catalog.jsonb_object(array[%s]::text[], array[%s]::text[])',
      string_agg(quote_literal(i.name), ', ' order by i.place),
      string_agg(i.value, ', ' order by i.place)
    ),
    format(
      'pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(pg_catalog.array_send(array[%s%s]::bytea[])), ''hex''), 16)',
      case when definition.version > 1 then format('pg_catalog.convert_to(''v%s'', ''UTF8''), ', definition.version) end,
      string_agg(format('pg_catalog.convert_to(%s, ''UTF8'')', i.value), ', ' order by i.place)
    )
  into strict v_parts.input, v_parts.hash
  from (
    select
      i.value ->> 'name' as name,
      i.place,
      case
        when (select t.typcategory from pg_type as t where t.oid = a.atttypid) in ('A', 'C')
          then format('pg_catalog.to_jsonb(s.%I)::text', a.attname)
        else format('s.%I::text', a.attname)
      end as value
    from jsonb_array_elements(definition.inputs) with ordinality as i(value, place)
    join pg_attribute as a on a.attrelid = definition.source and a.attnum = (i.value ->> 'attnum')::integer
  ) as i;
  return v_parts;
end;
$$;
comment on function rowmill.add_input_parts is
  'The parts, with those that read a row''s inputs: input (a JSON object of text by name) and hash (16 letters over the same values).';
revoke all on function rowmill.add_input_parts from public;
