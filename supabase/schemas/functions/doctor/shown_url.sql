-- API: internal
create or replace function rowmill.shown_url(url text)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  -- What an address may hide is shown to nobody.
  select regexp_replace(regexp_replace(shown_url.url, '//[^/@]*@', '//***@'), '\?.*$', '?***');
$$;
comment on function rowmill.shown_url is
  'An address without the user, the password and the query that may stand in it.';
revoke all on function rowmill.shown_url from public;
