-- API: internal
create or replace function rowmill.base_type(type oid)
returns oid
language plpgsql
stable
strict
set search_path = pg_catalog, pg_temp
as $$
declare
  v_type oid := type;
  v_base oid;
begin
  loop
    select t.typbasetype into v_base from pg_type as t where t.oid = v_type and t.typtype = 'd';
    exit when not found;
    v_type := v_base;
  end loop;
  return v_type;
end;
$$;
comment on function rowmill.base_type is
  'The type under a domain, however deep; any other type is returned as it is.';
revoke all on function rowmill.base_type from public;
