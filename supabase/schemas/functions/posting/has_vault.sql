-- API: internal
create or replace function rowmill.has_vault()
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select rowmill.may_use('vault.create_secret', array['text', 'text', 'text', 'uuid'])
  and rowmill.may_use('vault.update_secret', array['uuid', 'text', 'text', 'text', 'uuid'])
  and rowmill.may_read('vault.decrypted_secrets');
$$;
comment on function rowmill.has_vault is
  'Whether Supabase''s Vault is there, trusted, and open to the caller: Rowmill''s owner, that is.';
revoke all on function rowmill.has_vault from public;
