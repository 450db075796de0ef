-- API: internal
create or replace function rowmill.keep_ingest_secret(secret text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_vault text := 'vault';
  v_id uuid;
begin
  if not rowmill.has_vault() then
    insert into rowmill.secrets (name, value)
    values ('ingest', keep_ingest_secret.secret)
    on conflict (name) do update set value = excluded.value, changed_at = now();
    return;
  end if;
  -- By parameters alone: a constant would stand in pg_stat_statements and in the server's log.
  -- The id alone, of the relation that has_vault() asks for: nothing is decrypted.
  execute format('select s.id from %I.decrypted_secrets as s where s.name = $1', v_vault)
  into v_id
  using 'rowmill_ingest_secret';
  if v_id is null then
    execute format('select %I.create_secret($1, $2, $3)', v_vault)
    using keep_ingest_secret.secret, 'rowmill_ingest_secret', 'Signs what Rowmill posts to its worker; rowmill.set_endpoint() changes it.';
  else
    execute format('select %I.update_secret($1, $2)', v_vault) using v_id, keep_ingest_secret.secret;
  end if;
  delete from rowmill.secrets as s where s.name = 'ingest';
end;
$$;
comment on function rowmill.keep_ingest_secret is
  'Puts the secret into Supabase''s Vault and out of rowmill.secrets; where there is no Vault, into rowmill.secrets, which its '
  'owner alone can read.';
revoke all on function rowmill.keep_ingest_secret from public;
