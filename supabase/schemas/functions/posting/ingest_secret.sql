-- API: internal
create or replace function rowmill.ingest_secret()
returns text
language plpgsql
stable
security definer -- the posts of a trigger are signed whoever inserts
set search_path = pg_catalog, pg_temp
as $$
declare
  v_vault text := 'vault';
  v_secret text;
begin
  if rowmill.has_vault() then
    execute format('select s.decrypted_secret from %I.decrypted_secrets as s where s.name = $1', v_vault)
    into v_secret
    using 'rowmill_ingest_secret';
  end if;
  return coalesce(v_secret, (select s.value from rowmill.secrets as s where s.name = 'ingest'));
end;
$$;
comment on function rowmill.ingest_secret is
  'The secret that signs posts: "rowmill_ingest_secret" in Supabase''s Vault, else "ingest" in rowmill.secrets; null where neither '
  'is there.';
revoke all on function rowmill.ingest_secret from public;
