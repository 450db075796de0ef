-- API: internal
create or replace function rowmill.value_schema(
  type oid,
  nullable boolean, -- true: the value may be null
  about text -- what it means, for the model; null: nothing is said
)
returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_base oid := rowmill.base_type(value_schema.type);
  v_type record;
  v_kind text;
  v_about text := value_schema.about;
  v_labels json;
  v_items json;
begin
  select t.typtype, t.typcategory, t.typelem into strict v_type
  from pg_type as t
  where t.oid = v_base;

  if v_type.typtype = 'e' then
    v_kind := 'string';
    select json_agg(l.label order by l.place) into strict v_labels
    from (
      select e.enumlabel::text as label, e.enumsortorder as place from pg_enum as e where e.enumtypid = v_base
      union all
      select null, 'infinity' where value_schema.nullable
    ) as l;
  elsif v_type.typcategory = 'A' and v_type.typelem <> 0 then
    -- jsonb inside an array would need the JSON-in-a-string form at a depth that nothing unpacks.
    if rowmill.base_type(v_type.typelem) in ('json'::regtype, 'jsonb'::regtype) then
      return null;
    end if;
    v_kind := 'array';
    v_items := rowmill.value_schema(v_type.typelem, false, null);
    if v_items is null then
      return null;
    end if;
  else
    v_kind := rowmill.json_kind(v_base);
    if v_kind is null then
      return null;
    end if;
    if v_base in ('json'::regtype, 'jsonb'::regtype) then
      v_about := concat_ws(' ', v_about, '(A JSON document, written as a string.)');
    end if;
  end if;

  return json_strip_nulls(json_build_object(
    'type', case when value_schema.nullable then json_build_array(v_kind, 'null') else to_json(v_kind) end,
    'description', v_about,
    'format', rowmill.json_format(v_base),
    'items', v_items,
    -- json_strip_nulls leaves the nulls of arrays alone, and an enum needs its own
    'enum', v_labels
  ));
end;
$$;
comment on function rowmill.value_schema is
  'JSON Schema of one value of a column''s type, as OpenAI''s strict mode takes it; null for a type without a JSON form. '
  'Domains count as their base type.';
revoke all on function rowmill.value_schema from public;
