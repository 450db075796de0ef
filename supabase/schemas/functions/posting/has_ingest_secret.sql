-- API: internal
create or replace function rowmill.has_ingest_secret()
returns boolean
language plpgsql
stable
security definer -- as ingest_secret
set search_path = pg_catalog, pg_temp
as $$
declare
  v_vault text := 'vault';
  v_is_there boolean := false;
begin
  if rowmill.has_vault() then
    -- Reads no secret: one that Vault cannot decrypt any more (a restored backup) must not end the tick.
    execute format('select exists (select from %I.decrypted_secrets as s where s.name = $1)', v_vault)
    into strict v_is_there
    using 'rowmill_ingest_secret';
  end if;
  return v_is_there or exists (select from rowmill.secrets as s where s.name = 'ingest');
end;
$$;
comment on function rowmill.has_ingest_secret is
  'Whether there is a secret that signs posts. It is not read.';
revoke all on function rowmill.has_ingest_secret from public;
