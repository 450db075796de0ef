-- API: internal
create or replace function rowmill.value_schema(type oid, nullable boolean, about text)
returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_base oid := rowmill.base_type(value_schema.type);
  v_type record;
  v_kind text;
  v_format text;
  v_about text := value_schema.about;
  v_labels json;
  v_items json;
begin
  select t.typname::text as name, t.typtype, t.typcategory, t.typelem, n.nspname::text as schema
  into strict v_type
  from pg_type as t
  join pg_namespace as n on n.oid = t.typnamespace
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
  elsif v_base in ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype, 'name'::regtype) or v_type.name = 'citext' then
    v_kind := 'string';
  elsif v_base = 'boolean'::regtype then
    v_kind := 'boolean';
  elsif v_base in ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype) then
    v_kind := 'integer';
  elsif v_base in ('real'::regtype, 'double precision'::regtype, 'numeric'::regtype) then
    v_kind := 'number';
  elsif v_base in ('json'::regtype, 'jsonb'::regtype) then
    -- A strict schema knows no free-form object, so the document comes as the text of one.
    v_kind := 'string';
    v_about := concat_ws(' ', v_about, '(A JSON document, written as a string.)');
  elsif v_base in ('uuid'::regtype, 'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype, 'time'::regtype, 'timetz'::regtype, 'interval'::regtype) then
    v_kind := 'string';
    v_format := case
      when v_base = 'uuid'::regtype then 'uuid'
      when v_base = 'date'::regtype then 'date'
      when v_base in ('timestamp'::regtype, 'timestamptz'::regtype) then 'date-time'
      when v_base = 'interval'::regtype then 'duration'
      else 'time'
    end;
  else
    return null;
  end if;

  return json_strip_nulls(json_build_object(
    'type', case when value_schema.nullable then json_build_array(v_kind, 'null') else to_json(v_kind) end,
    'description', v_about,
    'format', v_format,
    'items', v_items,
    -- json_strip_nulls leaves the nulls of arrays alone, and an enum needs its own
    'enum', v_labels
  ));
end;
$$;
comment on function rowmill.value_schema is
   'JSON Schema of one value of a column''s type, as OpenAI''s strict mode takes it; null for a type without a JSON form. Domains count as their base type.';
revoke all on function rowmill.value_schema from public;
