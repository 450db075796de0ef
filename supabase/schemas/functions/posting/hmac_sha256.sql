-- API: internal
create or replace function rowmill.hmac_sha256(message bytea, key bytea)
returns bytea
language plpgsql
immutable
strict
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key bytea := hmac_sha256.key;
  v_inner bytea := decode(repeat('36', 64), 'hex');
  v_outer bytea := decode(repeat('5c', 64), 'hex');
begin
  if length(v_key) > 64 then
    v_key := sha256(v_key);
  end if;
  for v_at in 0 .. length(v_key) - 1 loop
    v_inner := set_byte(v_inner, v_at, get_byte(v_key, v_at) # 54);
    v_outer := set_byte(v_outer, v_at, get_byte(v_key, v_at) # 92);
  end loop;
  return sha256(v_outer || sha256(v_inner || hmac_sha256.message));
end;
$$;
comment on function rowmill.hmac_sha256 is
   'HMAC-SHA-256 (RFC 2104) from Postgres'' own sha256: pgcrypto has it too, but is not on every server.';
revoke all on function rowmill.hmac_sha256 from public;
