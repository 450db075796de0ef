-- The secret that signs posts stands in Supabase's Vault where there is one. Workers need not stop.

-- API: internal
create function rowmill.may_use(routine text, argument_types text[])
returns boolean
language sql
stable
set search_path = ''
as $$
  -- Not to_regprocedure: it raises where the schema is there and closed to us.
  select exists (
    select
    from pg_proc as p
    join pg_namespace as n on n.oid = p.pronamespace
    where n.nspname = split_part(may_use.routine, '.', 1)
    and p.proname = split_part(may_use.routine, '.', 2)
    and array(select format_type(a.type, null) from unnest(p.proargtypes) with ordinality as a(type, place) order by a.place) = may_use.argument_types
    and has_schema_privilege(n.oid, 'usage')
    and has_function_privilege(p.oid, 'execute')
  );
$$;
comment on function rowmill.may_use(text, text[]) is
  'Whether a function of an extension, named schema.name with the names of its types, is there and open to whoever asks. Raises nothing.';
revoke all on function rowmill.may_use(text, text[]) from public;

-- API: internal
create function rowmill.may_read(relation text)
returns boolean
language sql
stable
set search_path = ''
as $$
  -- As may_use: to_regclass would raise.
  select exists (
    select
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = split_part(may_read.relation, '.', 1)
    and c.relname = split_part(may_read.relation, '.', 2)
    and has_schema_privilege(n.oid, 'usage')
    and has_table_privilege(c.oid, 'select')
  );
$$;
comment on function rowmill.may_read(text) is 'Whether a table of an extension, named schema.name, is there and open to whoever asks. Raises nothing.';
revoke all on function rowmill.may_read(text) from public;

-- API: internal
create function rowmill.has_pg_net()
returns boolean
language sql
stable
set search_path = ''
as $$
  select rowmill.may_use('net.http_post', array['text', 'jsonb', 'jsonb', 'jsonb', 'integer']);
$$;
comment on function rowmill.has_pg_net() is 'Whether pg_net is there, in the form that Rowmill calls it, and open to whoever asks.';
revoke all on function rowmill.has_pg_net() from public;

-- API: internal
create function rowmill.has_vault()
returns boolean
language sql
stable
set search_path = ''
as $$
  select rowmill.may_use('vault.create_secret', array['text', 'text', 'text', 'uuid'])
  and rowmill.may_use('vault.update_secret', array['uuid', 'text', 'text', 'text', 'uuid'])
  and rowmill.may_read('vault.decrypted_secrets');
$$;
comment on function rowmill.has_vault() is 'Whether Supabase''s Vault is there and open to whoever asks: Rowmill''s owner, that is.';
revoke all on function rowmill.has_vault() from public;

-- API: internal
create function rowmill.ingest_secret()
returns text
language plpgsql
stable
security definer -- the posts of a trigger are signed whoever inserts
set search_path = ''
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
comment on function rowmill.ingest_secret() is
  'The secret that signs posts: "rowmill_ingest_secret" in Supabase''s Vault, else "ingest" in rowmill.secrets; null where neither is there.';
revoke all on function rowmill.ingest_secret() from public;

-- API: internal
create function rowmill.has_ingest_secret()
returns boolean
language plpgsql
stable
security definer -- as ingest_secret
set search_path = ''
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
comment on function rowmill.has_ingest_secret() is 'Whether there is a secret that signs posts. It is not read.';
revoke all on function rowmill.has_ingest_secret() from public;

-- API: internal
create function rowmill.keep_ingest_secret(secret text)
returns void
language plpgsql
set search_path = ''
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
  execute format('select s.id from %I.secrets as s where s.name = $1', v_vault) into v_id using 'rowmill_ingest_secret';
  if v_id is null then
    execute format('select %I.create_secret($1, $2, $3)', v_vault)
    using keep_ingest_secret.secret, 'rowmill_ingest_secret', 'Signs what Rowmill posts to its worker; rowmill.set_endpoint() changes it.';
  else
    execute format('select %I.update_secret($1, $2)', v_vault) using v_id, keep_ingest_secret.secret;
  end if;
  delete from rowmill.secrets as s where s.name = 'ingest';
end;
$$;
comment on function rowmill.keep_ingest_secret(text) is
  'Puts the secret into Supabase''s Vault and out of rowmill.secrets; where there is no Vault, into rowmill.secrets, which its owner alone can read.';
revoke all on function rowmill.keep_ingest_secret(text) from public;

-- What was set before goes there as well.
do $$
begin
  if rowmill.has_vault() then
    perform rowmill.keep_ingest_secret(s.value) from rowmill.secrets as s where s.name = 'ingest';
  end if;
end;
$$;

-- API: internal
create or replace function rowmill.can_post()
returns boolean
language sql
stable
set search_path = ''
as $$
  select exists (select from rowmill.settings as s where s.endpoint_url is not null)
  and rowmill.has_pg_net()
  and rowmill.has_ingest_secret();
$$;
comment on function rowmill.can_post() is 'Whether an endpoint and a secret are set and pg_net is there to post with.';

-- API: internal
create function rowmill.post_signed(
  message_id text, -- the webhook-id; the worker knows a repeated one by its body, not by this
  body jsonb
)
returns bigint
language plpgsql
security definer -- called from triggers of whoever inserts
set search_path = ''
as $$
declare
  v_net text := 'net';
  v_settings rowmill.settings;
  v_timestamp text := floor(extract(epoch from clock_timestamp()))::bigint::text;
  v_signature text;
  v_request_id bigint;
begin
  select s.* into strict v_settings from rowmill.settings as s;
  -- The secret signs and stays here: pg_net's tables, headers included, can be read by many.
  v_signature := 'v1,' || encode(rowmill.hmac_sha256(
    convert_to(post_signed.message_id || '.' || v_timestamp || '.' || post_signed.body::text, 'UTF8'),
    decode(substr(rowmill.ingest_secret(), 7), 'base64')
  ), 'base64');
  execute format('select %I.http_post(url => $1, body => $2, headers => $3, timeout_milliseconds => $4)', v_net)
  into strict v_request_id
  using
    v_settings.endpoint_url,
    post_signed.body,
    jsonb_build_object(
      'Content-Type', 'application/json',
      'webhook-id', post_signed.message_id,
      'webhook-timestamp', v_timestamp,
      'webhook-signature', v_signature
    ),
    v_settings.post_timeout_ms;
  return v_request_id;
end;
$$;
comment on function rowmill.post_signed(text, jsonb) is
  'Gives pg_net a body to post to the endpoint once this transaction commits, signed as Standard Webhooks has it; returns pg_net''s number for it. For callers that have asked can_post(). A post is made once and may be lost.';
revoke all on function rowmill.post_signed(text, jsonb) from public;

-- API: internal
create or replace function rowmill.post_chunk(
  chunk_id bigint,
  with_rows boolean default true -- false: the worker reads them
)
returns boolean
language plpgsql
security definer -- called from triggers of whoever inserts
set search_path = ''
as $$
declare
  v_settings rowmill.settings;
  v_chunk rowmill.chunks;
  v_pipeline rowmill.pipelines;
  v_fits boolean := false;
  v_body jsonb;
begin
  if not rowmill.can_post() then
    return false;
  end if;
  select s.* into strict v_settings from rowmill.settings as s;
  select c.* into v_chunk from rowmill.chunks as c where c.id = post_chunk.chunk_id and c.state = 'waiting';
  if not found then
    return false;
  end if;
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = v_chunk.pipeline_id;

  -- A few rows tell whether all of them make a body that the worker would turn away. A chunk of an older version goes
  -- by its number: its worker reads the rows as the version has them that it asks under.
  if v_settings.post_rows and post_chunk.with_rows and v_chunk.version = v_pipeline.version then
    select v_settings.post_max_bytes > v_chunk.row_count * coalesce(avg(octet_length(r.input::text) + 64), 0) into strict v_fits
    from rowmill.read_chunk(v_chunk.id, 0, 20) as r;
  end if;
  v_body := jsonb_build_object('chunk_id', v_chunk.id, 'pipeline', v_pipeline.name);
  if v_fits then
    select v_body || jsonb_build_object('rows', coalesce(jsonb_agg(jsonb_build_object('n', r.n, 'hash', r.hash, 'input', r.input)), '[]'))
    into strict v_body
    from rowmill.read_chunk(v_chunk.id, 0, v_chunk.row_count) as r;
    -- The few may not have been like the rest.
    if octet_length(v_body::text) > v_settings.post_max_bytes then
      v_body := v_body - 'rows';
    end if;
  end if;

  perform rowmill.post_signed('chunk_' || v_chunk.id, v_body);
  update rowmill.chunks as c
  set posted_at = clock_timestamp(), posts = c.posts + 1
  where c.id = v_chunk.id;
  return true;
end;
$$;

-- API: internal
create function rowmill.endpoint_mistake(url text, secret text, out message text, out detail text, out hint text)
language plpgsql
stable
set search_path = ''
as $$
begin
  if endpoint_mistake.url !~ '^https?://[^/\s]+' then
    message := 'the url is not an http or https address';
    detail := format('url is %L.', endpoint_mistake.url);
    hint := 'select rowmill.set_endpoint(''https://worker.example.com'', ''whsec_…'');';
  elsif endpoint_mistake.secret is null and endpoint_mistake.url is not null and not rowmill.has_ingest_secret() then
    message := 'there is no secret yet';
    detail := 'Posts are signed with it.';
    hint := 'Give it as the second argument, the same as the worker''s ROWMILL_INGEST_SECRET.';
  elsif not rowmill.is_secret(endpoint_mistake.secret) then
    message := 'the secret is not of the form whsec_ and base64 of at least 24 bytes';
    detail := format('It has %s characters.', length(endpoint_mistake.secret));
    hint := 'Make one: select ''whsec_'' || encode(sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, ''UTF8'')), ''base64'');';
  end if;
end;
$$;
comment on function rowmill.endpoint_mistake(text, text) is 'What is wrong with what set_endpoint() was given; nulls where nothing is. The secret is in none of it: messages end in logs.';
revoke all on function rowmill.endpoint_mistake(text, text) from public;

-- API: public
create or replace function rowmill.set_endpoint(
  url text, -- where the worker is reached, e.g. https://worker.example.com; null stops posting
  secret text default null -- whsec_ and base64, the worker's ROWMILL_INGEST_SECRET; null keeps the one that is there
)
returns text
language plpgsql
set search_path = ''
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
comment on function rowmill.set_endpoint(text, text) is
  'Where chunks are posted and the secret that signs them, which goes into Supabase''s Vault where there is one; returns what follows from it. A url without a path gets /v1/chunks. Raises RM109; where the statement itself holds the secret it warns instead, sets nothing and says so, since Postgres logs statements that fail.';

-- API: internal
create function rowmill.is_secret(secret text)
returns boolean
language plpgsql
immutable
strict
set search_path = ''
as $$
begin
  return is_secret.secret ~ '^whsec_[A-Za-z0-9+/]+=*$' and length(decode(substr(is_secret.secret, 7), 'base64')) >= 24;
exception when others then
  return false; -- base64 that is none
end;
$$;
comment on function rowmill.is_secret(text) is 'Whether a text is whsec_ and base64 of at least 24 bytes, as Standard Webhooks has its secrets.';
revoke all on function rowmill.is_secret(text) from public;
