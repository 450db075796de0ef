-- API: internal
create or replace function rowmill.json_kind(type oid)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when t.oid in ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype, 'name'::regtype) or t.typname = 'citext' then 'string'
    when t.oid = 'boolean'::regtype then 'boolean'
    when t.oid in ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype) then 'integer'
    when t.oid in ('real'::regtype, 'double precision'::regtype, 'numeric'::regtype) then 'number'
    -- A strict schema knows no free-form object, so the document comes as the text of one.
    when t.oid in ('json'::regtype, 'jsonb'::regtype) then 'string'
    when rowmill.json_format(t.oid) is not null then 'string'
  end
  from pg_type as t
  where t.oid = json_kind.type;
$$;
comment on function rowmill.json_kind is
  'JSON Schema''s "type" of a value of a base type; null for enums and arrays, which need more than that, and for a '
  'type without a JSON form.';
revoke all on function rowmill.json_kind from public;
