/**
 * Stands in for Supabase's Vault (supabase_vault 0.3) where it is not installed: the names, signatures and defaults of
 * what Rowmill uses, and a view that decrypts. Its cipher is none: it only keeps the text itself out of the table.
 */
export const vaultStub = `
create schema vault;
create table vault.secrets (
  id uuid primary key default gen_random_uuid(),
  name text,
  description text not null default '',
  secret text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index secrets_name_once on vault.secrets (name) where name is not null;
create view vault.decrypted_secrets as
select s.id, s.name, s.description, s.secret, convert_from(decode(s.secret, 'base64'), 'UTF8') as decrypted_secret, s.created_at, s.updated_at
from vault.secrets as s;
create function vault.create_secret(new_secret text, new_name text = null, new_description text = '', new_key_id uuid = null)
returns uuid language sql security definer set search_path = '' as $$
  insert into vault.secrets (secret, name, description)
  values (encode(convert_to(new_secret, 'UTF8'), 'base64'), new_name, new_description)
  returning id
$$;
create function vault.update_secret(secret_id uuid, new_secret text = null, new_name text = null, new_description text = null, new_key_id uuid = null)
returns void language sql security definer set search_path = '' as $$
  update vault.secrets
  set
    secret = coalesce(encode(convert_to(new_secret, 'UTF8'), 'base64'), secret),
    name = coalesce(new_name, name),
    description = coalesce(new_description, description),
    updated_at = now()
  where id = secret_id
$$;
revoke all on function vault.create_secret, vault.update_secret from public;
`;
