-- API: worker
create or replace function rowmill.knows_secret(
  challenge text,
  proof text -- base64 of the HMAC-SHA-256 of 'rowmill doctor ' and the challenge
)
returns boolean
language plpgsql
stable
security definer -- the worker has no rights on the secret
set search_path = pg_catalog, pg_temp
as $$
begin
  if not rowmill.has_ingest_secret() then
    return null;
  end if;
  return knows_secret.proof = encode(rowmill.hmac_sha256(
    convert_to('rowmill doctor ' || knows_secret.challenge, 'UTF8'), decode(substr(rowmill.ingest_secret(), 7), 'base64')
  ), 'base64');
exception when others then
  return null; -- it is malformed, or cannot be decrypted: see the check of the secret
end;
$$;
comment on function rowmill.knows_secret is
  'Whether somebody has the secret that signs posts, without either side saying it; null where there is none, or none that can be used.';
revoke all on function rowmill.knows_secret from public;
