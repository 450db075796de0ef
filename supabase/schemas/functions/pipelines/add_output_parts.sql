-- API: internal
create or replace function rowmill.add_output_parts(parts rowmill.source_parts, definition rowmill.pipelines)
returns rowmill.source_parts
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts rowmill.source_parts := parts;
  -- where the outputs are: in the row itself, or in its row of the target
  v_place text := case when definition.target = definition.source then 's' else 'f' end;
begin
  select
    string_agg(format('%s.%I is null', v_place, a.attname), ' and ' order by o.place),
    string_agg(format('%I = k.o%s', a.attname, o.place - 1), ', ' order by o.place),
    string_agg(format('o%s %s', o.place - 1, format_type(a.atttypid, a.atttypmod)), ', ' order by o.place),
    string_agg(format('%I', a.attname), ', ' order by o.place),
    string_agg(format('w.o%s', o.place - 1), ', ' order by o.place),
    string_agg(format('%I = excluded.%1$I', a.attname), ', ' order by o.place)
  into strict
    v_parts.missing, v_parts.set_list, v_parts.value_columns, v_parts.target_columns, v_parts.target_values, v_parts.excluded_list
  from jsonb_array_elements(definition.outputs) with ordinality as o(value, place)
  join pg_attribute as a on a.attrelid = definition.target and a.attnum = (o.value ->> 'attnum')::integer;
  if definition.provenance = '[]' then
    return v_parts;
  end if;

  select
    v_parts.set_list || string_agg(format(', %I = %s', q.name, q.value), '' order by q.place),
    v_parts.target_columns || string_agg(format(', %I', q.name), '' order by q.place),
    v_parts.target_values || string_agg(format(', %s', q.value), '' order by q.place),
    v_parts.excluded_list || string_agg(format(', %I = excluded.%1$I', q.name), '' order by q.place),
    min(format('%s.%I', v_place, q.name)) filter (where q.is_version)
  into strict v_parts.set_list, v_parts.target_columns, v_parts.target_values, v_parts.excluded_list, v_parts.version_at
  from (
    select
      a.attname as name,
      o.place,
      case o.value ->> 'value'
        when '$batch_id' then '$3' when '$model' then '$4' when '$completed_at' then '$5' when '$version' then '$6'
      end as value,
      -- a subquery, since for a join Postgres reads all of pg_type
      o.value ->> 'value' = '$version'
        and (select t.typcategory from pg_type as t where t.oid = rowmill.base_type(a.atttypid)) = 'N' as is_version
    from jsonb_array_elements(definition.provenance) with ordinality as o(value, place)
    join pg_attribute as a on a.attrelid = definition.target and a.attnum = (o.value ->> 'attnum')::integer
  ) as q;
  return v_parts;
end;
$$;
comment on function rowmill.add_output_parts is
  'The parts, with those that write a row''s outputs and provenance, and that say whether it has none (missing) and of which version '
  'they are (version_at). Where the pipeline has a target of its own, both are over its row, aliased as f: see add_target_parts.';
revoke all on function rowmill.add_output_parts from public;
