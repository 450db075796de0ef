-- What was answered meanwhile is not asked for again: see the migration before. Workers need not stop.

-- API: internal
create or replace function rowmill.form_chunk(
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
  v_may_repeat boolean;
  v_oldest_entry bigint;
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
    returning coalesce(p.first_entry, p.id) as id, p.keys, p.queued_at, p.may_repeat
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
    (select max(t.queued_at) from taken as t),
    (select bool_or(t.may_repeat) from taken as t),
    (select min(t.id) from taken as t)
  into strict v_keys, v_rest, v_queued_at, v_may_repeat, v_oldest_entry
  from numbered as q;

  if v_rest is not null then
    -- The remainder keeps its place at the head of the queue.
    insert into rowmill.pending_keys (pipeline_id, id, keys, row_count, only_missing, queued_at, may_repeat, first_entry)
    overriding system value
    values (form_chunk.pipeline_id, v_ids[cardinality(v_ids)], v_rest, jsonb_array_length(v_rest), v_only_missing, v_queued_at, v_may_repeat, v_oldest_entry);
  end if;

  insert into rowmill.chunks (pipeline_id, keys, row_count, only_missing, may_repeat, oldest_entry)
  values (form_chunk.pipeline_id, v_keys, jsonb_array_length(v_keys), v_only_missing, v_may_repeat, v_oldest_entry)
  returning id into strict v_chunk_id;
  return v_chunk_id;
end;
$$;

-- API: worker
create or replace function rowmill.hold_rows(chunk_id bigint, worker text, rows jsonb)
returns setof integer
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_chunk rowmill.chunks;
  v_parts rowmill.source_parts;
  v_held integer[];
begin
  select c.* into v_chunk
  from rowmill.chunks as c
  where c.id = hold_rows.chunk_id and c.state = 'accepted' and c.owner = hold_rows.worker
  for update;
  if not found then
    return;
  end if;
  with held as (
    insert into rowmill.chunk_rows (chunk_id, n, pipeline_id, key, hash)
    select v_chunk.id, r.n, v_chunk.pipeline_id, v_chunk.keys -> r.n, r.hash
    from jsonb_to_recordset(hold_rows.rows) as r(n integer, hash text)
    where r.n >= 0 and r.n < v_chunk.row_count
    order by md5((v_chunk.keys -> r.n)::text) -- one order for all sessions: no deadlock
    on conflict do nothing
    returning chunk_rows.n
  )
  select coalesce(array_agg(held.n), '{}') into strict v_held from held;

  if exists (select from rowmill.answered_rows as a where a.pipeline_id = v_chunk.pipeline_id) then
    -- Only what was queued before the answer, and only where the answer is still there: a row that was inserted anew,
    -- or whose outputs were erased, is asked for.
    v_parts := rowmill.source_parts_of(v_chunk.pipeline_id);
    execute format(
      $sql$
      with answered as (
        delete from rowmill.chunk_rows as k
        using rowmill.answered_rows as a, %1$s as s
        where k.chunk_id = $1 and k.n = any ($2)
        and a.pipeline_id = $3 and md5(a.key::text) = md5(k.key::text) and a.hash = k.hash
        and a.queue_position >= $4
        and %2$s and not (%3$s)
        returning k.n
      )
      select coalesce(array_agg(h.n), '{}') from unnest($2) as h(n) where h.n not in (select answered.n from answered)
      $sql$,
      v_parts.relation, v_parts.key_match, v_parts.missing
    )
    into strict v_held
    using v_chunk.id, v_held, v_chunk.pipeline_id, v_chunk.oldest_entry;
    -- Asked for with another input, a row has no answer that still holds. Locked in one order, as failures are.
    perform
    from rowmill.answered_rows as a
    join rowmill.chunk_rows as r on md5(r.key::text) = md5(a.key::text)
    where a.pipeline_id = v_chunk.pipeline_id and r.chunk_id = v_chunk.id and r.n = any (v_held)
    order by md5(a.key::text), a.hash
    for update of a;
    delete from rowmill.answered_rows as a
    using rowmill.chunk_rows as r
    where r.chunk_id = v_chunk.id and r.n = any (v_held)
    and a.pipeline_id = v_chunk.pipeline_id and md5(a.key::text) = md5(r.key::text);
  end if;

  -- An edit makes an old failure's count and verdict void. After chunk_rows, as whoever settles a row has it.
  if exists (select from rowmill.failures as f where f.pipeline_id = v_chunk.pipeline_id) then
    perform
    from rowmill.failures as f
    join jsonb_to_recordset(hold_rows.rows) as r(n integer, hash text) on md5(f.key::text) = md5((v_chunk.keys -> r.n)::text)
    where f.pipeline_id = v_chunk.pipeline_id and f.hash <> r.hash
    order by md5(f.key::text)
    for update of f;
    delete from rowmill.failures as f
    using jsonb_to_recordset(hold_rows.rows) as r(n integer, hash text)
    where f.pipeline_id = v_chunk.pipeline_id
    and md5(f.key::text) = md5((v_chunk.keys -> r.n)::text)
    and f.hash <> r.hash;
  end if;

  if v_chunk.only_missing then
    -- An answer may have been written since the rows were read. Now that they are held, none can be on its way.
    v_parts := rowmill.source_parts_of(v_chunk.pipeline_id);
    execute format(
      $sql$
      with answered as (
        delete from rowmill.chunk_rows as k
        using %1$s as s
        where k.chunk_id = $1 and k.n = any ($2) and %2$s and not (%3$s)
        returning k.n
      )
      select coalesce(array_agg(h.n), '{}') from unnest($2) as h(n) where h.n not in (select answered.n from answered)
      $sql$,
      v_parts.relation, v_parts.key_match, v_parts.missing
    )
    into strict v_held
    using v_chunk.id, v_held;
  end if;
  return query select h.n from unnest(v_held) as h(n);
end;
$$;
comment on function rowmill.hold_rows(bigint, text, jsonb) is
  'Notes rows of an accepted chunk, [{"n","hash"}], as in flight, and returns the places that may be sent: a row whose very input is in flight already, or was answered since it was queued, is left out, and in a chunk of missing rows one that was answered since it was read.';
