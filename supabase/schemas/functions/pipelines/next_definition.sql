-- API: internal
create or replace function rowmill.next_definition(
  old_definition rowmill.pipelines,
  new_definition rowmill.pipelines, -- as altered_definition returns it
  outputs text[], -- null: those of the old definition
  provenance jsonb -- {"column": "$value"}; null: that of the old definition
)
returns rowmill.pipelines
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_new rowmill.pipelines := new_definition;
  v_kept rowmill.pipelines;
  v_outputs text[] := outputs;
  v_provenance jsonb := provenance;
begin
  -- What is as it was keeps the names that it was written with; the rest sees the table as it is.
  if v_new.prompt is distinct from old_definition.prompt or v_new.placeholder_style <> old_definition.placeholder_style then
    v_new.inputs := null;
  end if;
  if v_new.filter is distinct from old_definition.filter then
    v_new.filter_columns := null;
    v_new.filter_uses := null;
    select c.relname into strict v_new.source_name from pg_class as c where c.oid = old_definition.source;
  end if;
  v_kept := v_new;
  v_kept.outputs := case when v_outputs is null then old_definition.outputs end;
  v_kept.provenance := case when v_provenance is null then old_definition.provenance end;
  perform rowmill.check_kept_columns(v_kept, old_definition.name);
  -- A schema of one's own goes on naming its properties as it does.
  if v_outputs is null
    and (v_new.own_schema is null or v_new.own_schema::text is distinct from old_definition.own_schema::text) then
    select array_agg(rowmill.column_name(old_definition.target, (o.value ->> 'attnum')::integer) order by o.place) into strict v_outputs
    from jsonb_array_elements(old_definition.outputs) with ordinality as o(value, place);
  end if;
  if v_provenance is null then
    select coalesce(jsonb_object_agg(rowmill.column_name(old_definition.target, (o.value ->> 'attnum')::integer), o.value -> 'value'), '{}')
    into strict v_provenance
    from jsonb_array_elements(old_definition.provenance) as o(value);
  end if;
  v_new := rowmill.check_definition(v_new, v_outputs, v_provenance);
  if rowmill.version_fields(v_new)::text <> rowmill.version_fields(old_definition)::text then
    v_new.version := old_definition.version + 1;
  end if;
  return v_new;
end;
$$;
comment on function rowmill.next_definition is
  'An altered definition, checked, with its columns by number, its schema, and the next version where anything of it differs. Raises '
  'RM101, RM102, RM106 to RM109, RM114, RM117.';
revoke all on function rowmill.next_definition from public;
