-- From pending keys to chunks, and the doorbell. Workers need not stop.

-- API: internal
create function rowmill.hmac_sha256(message bytea, key bytea)
returns bytea
language plpgsql
immutable
strict
set search_path = ''
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
comment on function rowmill.hmac_sha256(bytea, bytea) is
  'HMAC-SHA-256 (RFC 2104) from Postgres'' own sha256: pgcrypto has it too, but is not on every server.';
revoke all on function rowmill.hmac_sha256(bytea, bytea) from public;

-- API: internal
create function rowmill.read_chunk(
  chunk_id bigint,
  from_n integer default 0, -- first place in the chunk
  place_count integer default 1000 -- how many places to look at
)
returns table (n integer, hash text, input jsonb)
language plpgsql
stable
security definer -- the worker has no rights on the source table
set search_path = ''
-- An input's text, and so its hash, must not depend on whoever asks.
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
  v_chunk rowmill.chunks;
  v_parts rowmill.source_parts;
begin
  select c.* into v_chunk from rowmill.chunks as c where c.id = read_chunk.chunk_id and c.state <> 'done';
  if not found then
    return;
  end if;
  v_parts := rowmill.source_parts_of(v_chunk.pipeline_id);
  return query execute format(
    $sql$
    select k.n, %6$s, %1$s
    from (select p.n, $1 -> p.n as key from generate_series($2, $3) as p(n)) as k
    join %2$s as s on %3$s
    where %4$s and (not $4 or (%5$s))
    $sql$,
    v_parts.input, v_parts.relation, v_parts.key_match, v_parts.selected, v_parts.missing, v_parts.hash
  )
  using v_chunk.keys, read_chunk.from_n, least(read_chunk.from_n + read_chunk.place_count, v_chunk.row_count) - 1, v_chunk.only_missing;
end;
$$;
comment on function rowmill.read_chunk(bigint, integer, integer) is
  'Rows of a chunk as they are now: place in the chunk, hash of the input, input as {"column": text or null}, in no order. Rows that vanished or that the filter leaves out are not among them, so that a page may be empty before the end. Raises RM201 where the table or a column is gone.';
revoke all on function rowmill.read_chunk(bigint, integer, integer) from public;

-- API: internal
create function rowmill.can_post()
returns boolean
language sql
stable
set search_path = ''
as $$
  select exists (select from rowmill.settings as s where s.endpoint_url is not null)
  and exists (select from rowmill.secrets as s where s.name = 'ingest')
  and to_regprocedure('net.http_post(text, jsonb, jsonb, jsonb, integer)') is not null;
$$;
comment on function rowmill.can_post() is 'Whether an endpoint is set and pg_net is there to post to it.';
revoke all on function rowmill.can_post() from public;

-- API: internal
create function rowmill.post_chunk(
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
  v_pipeline text;
  v_fits boolean := false;
  v_body jsonb;
  v_message_id text := 'chunk_' || chunk_id;
  v_timestamp text := floor(extract(epoch from clock_timestamp()))::bigint::text;
  v_signature text;
begin
  if not rowmill.can_post() then
    return false;
  end if;
  select s.* into strict v_settings from rowmill.settings as s;
  select c.* into v_chunk from rowmill.chunks as c where c.id = post_chunk.chunk_id and c.state = 'waiting';
  if not found then
    return false;
  end if;
  select p.name into strict v_pipeline from rowmill.pipelines as p where p.id = v_chunk.pipeline_id;

  -- A few rows tell whether all of them make a body that the worker would turn away.
  if v_settings.post_rows and post_chunk.with_rows then
    select v_settings.post_max_bytes > v_chunk.row_count * coalesce(avg(octet_length(r.input::text) + 64), 0) into strict v_fits
    from rowmill.read_chunk(v_chunk.id, 0, 20) as r;
  end if;
  v_body := jsonb_build_object('chunk_id', v_chunk.id, 'pipeline', v_pipeline);
  if v_fits then
    select v_body || jsonb_build_object('rows', coalesce(jsonb_agg(jsonb_build_object('n', r.n, 'hash', r.hash, 'input', r.input)), '[]'))
    into strict v_body
    from rowmill.read_chunk(v_chunk.id, 0, v_chunk.row_count) as r;
    -- The few may not have been like the rest.
    if octet_length(v_body::text) > v_settings.post_max_bytes then
      v_body := v_body - 'rows';
    end if;
  end if;

  -- The secret signs and stays here: pg_net's tables, headers included, can be read by many.
  select 'v1,' || encode(rowmill.hmac_sha256(
    convert_to(v_message_id || '.' || v_timestamp || '.' || v_body::text, 'UTF8'),
    decode(substr(s.value, 7), 'base64')
  ), 'base64')
  into strict v_signature
  from rowmill.secrets as s
  where s.name = 'ingest';

  execute 'select net.http_post(url => $1, body => $2, headers => $3, timeout_milliseconds => $4)'
  using
    v_settings.endpoint_url,
    v_body,
    jsonb_build_object(
      'Content-Type', 'application/json',
      'webhook-id', v_message_id,
      'webhook-timestamp', v_timestamp,
      'webhook-signature', v_signature
    ),
    v_settings.post_timeout_ms;

  update rowmill.chunks as c
  set posted_at = clock_timestamp(), posts = c.posts + 1
  where c.id = v_chunk.id;
  return true;
end;
$$;
comment on function rowmill.post_chunk(bigint, boolean) is
  'Hands a waiting chunk to pg_net, signed as Standard Webhooks has it; false where nothing can be posted. pg_net sends after the commit and may lose it: the tick posts again, a worker fetches.';
revoke all on function rowmill.post_chunk(bigint, boolean) from public;

-- API: internal
create function rowmill.form_chunk(
  pipeline_id bigint,
  partial boolean, -- true takes fewer than chunk_size keys too
  own_only boolean default false -- true takes only what this transaction queued
)
returns bigint
language plpgsql
security definer -- called from triggers of whoever inserts
set search_path = ''
as $$
declare
  v_chunk_size integer;
  v_entry record;
  v_ids bigint[];
  v_total integer := 0;
  v_other_ids bigint[];
  v_other_total integer := 0;
  v_only_missing boolean;
  v_keys jsonb;
  v_rest jsonb;
  v_queued_at timestamptz;
  v_chunk_id bigint;
begin
  select p.chunk_size into v_chunk_size
  from rowmill.pipelines as p
  where p.id = form_chunk.pipeline_id and p.state = 'active';
  if not found then
    return null;
  end if;

  -- Entry by entry, so that no more are locked than are taken (a loop fetches a few ahead).
  for v_entry in
    select p.id, p.row_count, p.only_missing
    from rowmill.pending_keys as p
    where p.pipeline_id = form_chunk.pipeline_id
    and p.queued_at <= clock_timestamp()
    and (not form_chunk.own_only or p.xid = pg_current_xact_id())
    order by p.id
    for update skip locked
  loop
    v_only_missing := coalesce(v_only_missing, v_entry.only_missing);
    if v_entry.only_missing = v_only_missing then
      v_ids := v_ids || v_entry.id;
      v_total := v_total + v_entry.row_count;
    else
      v_other_ids := v_other_ids || v_entry.id;
      v_other_total := v_other_total + v_entry.row_count;
    end if;
    exit when greatest(v_total, v_other_total) >= v_chunk_size;
  end loop;
  -- A chunk is of one kind. A full one does not wait for an incomplete one of the other kind that is older.
  if v_other_total >= v_chunk_size then
    v_only_missing := not v_only_missing;
    v_ids := v_other_ids;
    v_total := v_other_total;
  end if;
  if v_total = 0 or (v_total < v_chunk_size and not form_chunk.partial) then
    return null;
  end if;

  with taken as (
    delete from rowmill.pending_keys as p
    where p.pipeline_id = form_chunk.pipeline_id and p.id = any (v_ids)
    returning p.id, p.keys, p.queued_at
  ), keys as (
    -- a row edited twice is sent once
    select e.key, min(array[t.id, e.place]) as place
    from taken as t
    cross join lateral jsonb_array_elements(t.keys) with ordinality as e(key, place)
    group by e.key
  ), numbered as (
    select k.key, row_number() over (order by k.place) as n from keys as k
  )
  select
    jsonb_agg(q.key order by q.n) filter (where q.n <= v_chunk_size),
    jsonb_agg(q.key order by q.n) filter (where q.n > v_chunk_size),
    (select max(t.queued_at) from taken as t)
  into strict v_keys, v_rest, v_queued_at
  from numbered as q;

  if v_rest is not null then
    -- The remainder keeps its place at the head of the queue.
    insert into rowmill.pending_keys (pipeline_id, id, keys, row_count, only_missing, queued_at)
    overriding system value
    values (form_chunk.pipeline_id, v_ids[cardinality(v_ids)], v_rest, jsonb_array_length(v_rest), v_only_missing, v_queued_at);
  end if;

  insert into rowmill.chunks (pipeline_id, keys, row_count, only_missing)
  values (form_chunk.pipeline_id, v_keys, jsonb_array_length(v_keys), v_only_missing)
  returning id into strict v_chunk_id;
  return v_chunk_id;
end;
$$;
comment on function rowmill.form_chunk(bigint, boolean, boolean) is
  'Groups the oldest pending keys into a waiting chunk and returns its id; null where there are too few, or the pipeline is not active. Skips what another session is grouping. A rollback gives the keys back.';
revoke all on function rowmill.form_chunk(bigint, boolean, boolean) from public;

-- API: internal
create function rowmill.form_chunk_on_insert(pipeline_id bigint)
returns void
language plpgsql
security definer -- called from triggers of whoever inserts
set search_path = ''
as $$
declare
  v_chunk_id bigint;
begin
  -- Under a stricter level, reading the queue could make the user's own commit fail; the tick forms instead.
  if current_setting('transaction_isolation') <> 'read committed' then
    return;
  end if;
  -- In a transaction of several statements, somebody else's keys would wait for its end.
  v_chunk_id := rowmill.form_chunk(form_chunk_on_insert.pipeline_id, false, own_only => now() <> statement_timestamp());
  if v_chunk_id is not null then
    begin
      -- Its number alone: putting the rows into pg_net's queue would cost the user's statement several times
      -- what the insert itself does.
      perform rowmill.post_chunk(v_chunk_id, with_rows => false);
    exception when others then
      -- The chunk stands; the tick posts it, or a worker fetches it.
      perform rowmill.note_trigger_error(form_chunk_on_insert.pipeline_id, sqlstate, sqlerrm, false);
    end;
  end if;
exception when others then
  -- The keys stand; the tick forms them.
  perform rowmill.note_trigger_error(form_chunk_on_insert.pipeline_id, sqlstate, sqlerrm, false);
end;
$$;
comment on function rowmill.form_chunk_on_insert(bigint) is 'Forms and posts at most one full chunk, from inside a user''s statement. Never raises; what it leaves, the tick takes.';
revoke all on function rowmill.form_chunk_on_insert(bigint) from public;
