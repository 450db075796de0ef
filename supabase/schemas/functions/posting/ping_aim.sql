-- API: internal
create or replace function rowmill.ping_aim()
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select left(encode(rowmill.hmac_sha256(
      convert_to(coalesce(s.endpoint_url, ''), 'UTF8'), decode(substr(rowmill.ingest_secret(), 7), 'base64')
    ), 'hex'), 8)
    from rowmill.settings as s
  );
exception when others then
  return null; -- a secret that cannot be read signs no ping either
end;
$$;
comment on function rowmill.ping_aim is
  'Eight digits that change with the endpoint and with the secret, and tell nothing of it: the start of an HMAC. null where the '
  'secret is none. Raises nothing.';
revoke all on function rowmill.ping_aim from public;
