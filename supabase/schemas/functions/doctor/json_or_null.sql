-- API: internal
create or replace function rowmill.json_or_null(content text)
returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return json_or_null.content::jsonb;
exception when others then
  return null;
end;
$$;
comment on function rowmill.json_or_null is
  'A text read as JSON; null where it is none.';
revoke all on function rowmill.json_or_null from public;
