-- API: internal
create or replace function rowmill.is_secret(secret text)
returns boolean
language plpgsql
immutable
strict
set search_path = pg_catalog, pg_temp
as $$
begin
  return is_secret.secret ~ '^whsec_[A-Za-z0-9+/]+=*$' and length(decode(substr(is_secret.secret, 7), 'base64')) >= 24;
exception when others then
  return false; -- base64 that is none
end;
$$;
comment on function rowmill.is_secret is
  'Whether a text is whsec_ and base64 of at least 24 bytes, as Standard Webhooks has its secrets.';
revoke all on function rowmill.is_secret from public;
