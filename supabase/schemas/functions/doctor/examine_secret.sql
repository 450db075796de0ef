-- API: internal
create or replace function rowmill.examine_secret()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_again text := 'select rowmill.set_endpoint((select endpoint_url from rowmill.settings), ''whsec_…''); '
    'with the worker''s ROWMILL_INGEST_SECRET.';
  v_secret text;
  v_probe rowmill.probe;
  v_code text;
  v_mistrust rowmill.finding;
begin
  if exists (select from rowmill.settings as s where s.endpoint_url is null) then
    return row('note', 'not needed while nothing is posted', 'See the check of the endpoint.')::rowmill.finding;
  end if;
  v_mistrust := rowmill.judge_schema('vault', array['decrypted_secrets', 'create_secret', 'update_secret']);
  if v_mistrust.verdict is not null then
    return v_mistrust;
  end if;
  if not rowmill.has_ingest_secret() then
    return row('fault', 'there is none, so that nothing is posted', v_again)::rowmill.finding;
  end if;
  begin
    v_secret := rowmill.ingest_secret();
  exception when others then
    return row('fault', 'it is in Vault and cannot be decrypted, as after a backup was restored elsewhere', v_again)::rowmill.finding;
  end;
  if not coalesce(rowmill.is_secret(v_secret), false) then
    return row('fault', 'it is not of the form whsec_ and base64 of at least 24 bytes', v_again)::rowmill.finding;
  end if;
  v_probe := rowmill.probe_of(false);
  v_code := rowmill.json_or_null(v_probe.content) -> 'error' ->> 'code';
  return case
    when rowmill.has_arrived(v_probe) then row('ok', 'the worker has the same', null)::rowmill.finding
    when v_probe.status_code = 401 and v_code = 'no_secret' then row(
      'fault', 'the worker has none, so that it takes no posts',
      'Start the worker with ROWMILL_INGEST_SECRET, the secret that set_endpoint() was given.'
    )::rowmill.finding
    when v_probe.status_code = 401 and v_code = 'bad_signature' then row(
      'fault', 'the worker has another one', v_again
    )::rowmill.finding
    else row('note', 'well-formed; whether the worker has the same, a post that arrives will tell', 'See the small post.')::rowmill.finding
  end;
end;
$$;
comment on function rowmill.examine_secret is
  'Whether the secret that signs posts is there, and the worker''s own. It is in no finding.';
revoke all on function rowmill.examine_secret from public;
