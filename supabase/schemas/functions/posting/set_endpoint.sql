-- API: public
create or replace function rowmill.set_endpoint(
  url text, -- where the worker is reached, e.g. https://worker.example.com; null stops posting
  secret text default null -- whsec_ and base64, the worker's ROWMILL_INGEST_SECRET; null keeps the one that is there
)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_url text := rtrim(set_endpoint.url, '/');
  v_mistake record;
begin
  v_mistake := rowmill.endpoint_mistake(v_url, set_endpoint.secret);
  if v_mistake.message is not null then
    -- An error makes Postgres log the statement, and the secret with it where it was written into the statement.
    if strpos(current_query(), set_endpoint.secret) > 0 then
      raise warning using message = v_mistake.message, detail = v_mistake.detail, hint = v_mistake.hint;
      return format('nothing was set: %s. %s', v_mistake.message, v_mistake.detail);
    end if;
    raise exception using errcode = 'RM109', message = v_mistake.message, detail = v_mistake.detail, hint = v_mistake.hint;
  end if;
  if v_url !~ '^https?://[^/]+/.' then
    v_url := v_url || '/v1/chunks';
  end if;
  if set_endpoint.secret is not null then
    perform rowmill.keep_ingest_secret(set_endpoint.secret);
  end if;
  update rowmill.settings as s set endpoint_url = v_url where s.only_row; -- a condition: see safe-update.test.ts
  return case
    when v_url is null then 'chunks are not posted; workers fetch them'
    when rowmill.can_post() then 'chunks are posted to ' || v_url
    else 'pg_net is not installed: chunks are not posted to ' || v_url || ', workers fetch them'
  end;
end;
$$;
comment on function rowmill.set_endpoint is
  'Where chunks are posted and the secret that signs them, which goes into Supabase''s Vault where there is one; returns what '
  'follows from it. A url without a path gets /v1/chunks. Raises RM109; where the statement itself holds the secret it warns '
  'instead, sets nothing and says so, since Postgres logs statements that fail.';
revoke all on function rowmill.set_endpoint from public;
