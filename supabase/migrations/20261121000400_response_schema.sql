-- The strict JSON Schema of an answer, from the output columns themselves. Workers need not stop.

-- API: internal
create function rowmill.base_type(type oid)
returns oid
language plpgsql
stable
strict
set search_path = ''
as $$
declare
  v_type oid := type;
  v_base oid;
begin
  loop
    select t.typbasetype into v_base from pg_type as t where t.oid = v_type and t.typtype = 'd';
    if not found then
      return v_type;
    end if;
    v_type := v_base;
  end loop;
end;
$$;
comment on function rowmill.base_type(oid) is 'The type under a domain, however deep; any other type is returned as it is.';
revoke all on function rowmill.base_type(oid) from public;

-- API: internal
create function rowmill.forbids_null(type oid)
returns boolean
language sql
stable
set search_path = ''
as $$
  with recursive domains(base, forbids) as (
    select t.typbasetype, t.typnotnull from pg_type as t where t.oid = forbids_null.type and t.typtype = 'd'
    union all
    select t.typbasetype, t.typnotnull from domains as d join pg_type as t on t.oid = d.base and t.typtype = 'd'
  )
  select coalesce(bool_or(d.forbids), false) from domains as d;
$$;
comment on function rowmill.forbids_null(oid) is 'Whether a type is a domain that is "not null", or stands over one that is.';
revoke all on function rowmill.forbids_null(oid) from public;

-- API: internal
create function rowmill.value_schema(type oid, nullable boolean, about text)
returns json
language plpgsql
stable
set search_path = ''
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
comment on function rowmill.value_schema(oid, boolean, text) is
  'JSON Schema of one value of a column''s type, as OpenAI''s strict mode takes it; null for a type without a JSON form. Domains count as their base type.';
revoke all on function rowmill.value_schema(oid, boolean, text) from public;

-- API: internal
create function rowmill.answer_schema(source regclass, columns smallint[])
returns json
language sql
stable
set search_path = ''
as $$
  select json_build_object(
    'type', 'object',
    'properties', json_object_agg(
      a.attname,
      rowmill.value_schema(
        a.atttypid,
        not a.attnotnull and not rowmill.forbids_null(a.atttypid),
        col_description(answer_schema.source, a.attnum)
      )
      order by c.place
    ),
    'required', json_agg(a.attname order by c.place),
    'additionalProperties', false
  )
  from unnest(answer_schema.columns) with ordinality as c(attnum, place)
  join pg_attribute as a on a.attrelid = answer_schema.source and a.attnum = c.attnum;
$$;
comment on function rowmill.answer_schema(regclass, smallint[]) is
  'The strict schema of an answer that fills these columns: a comment describes, "not null" forbids null. Strict mode wants every property required, so a nullable one may be null instead of missing.';
revoke all on function rowmill.answer_schema(regclass, smallint[]) from public;
