-- API: internal
create or replace function rowmill.form_chunk(
  pipeline_id bigint,
  partial boolean, -- true takes fewer than chunk_size keys too
  own_only boolean default false -- true takes only what this transaction queued
)
returns bigint
language plpgsql
security definer -- called from triggers of whoever inserts
set search_path = pg_catalog, pg_temp
as $$
declare
  v_chunk_size integer;
  v_version integer;
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
  select p.chunk_size, p.version into v_chunk_size, v_version
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

  insert into rowmill.chunks (pipeline_id, keys, row_count, only_missing, may_repeat, oldest_entry, version)
  values (form_chunk.pipeline_id, v_keys, jsonb_array_length(v_keys), v_only_missing, v_may_repeat, v_oldest_entry, v_version)
  returning id into strict v_chunk_id;
  return v_chunk_id;
end;
$$;
comment on function rowmill.form_chunk is
   'Groups the oldest pending keys into a waiting chunk and returns its id; null where there are too few, or the pipeline is not active. Skips what another session is grouping. A rollback gives the keys back.';
revoke all on function rowmill.form_chunk from public;
