-- API: internal
create or replace function rowmill.owner_name()
returns name
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select pg_get_userbyid(n.nspowner) from pg_namespace as n where n.nspname = 'rowmill';
$$;
comment on function rowmill.owner_name is
  'The role that owns Rowmill, with whose rights rows are read and answers are written: the owner of schema rowmill.';
revoke all on function rowmill.owner_name from public;
