-- API: internal
create or replace function rowmill.write_chunk(
  pipeline_id bigint,
  entry_ids bigint[], -- of pending_keys, locked, all of this kind
  only_missing boolean,
  chunk_size integer,
  version integer -- of the pipeline
)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_keys jsonb;
  v_rest jsonb;
  v_queued_at timestamptz;
  v_may_repeat boolean;
  v_oldest_entry bigint;
  v_chunk_id bigint;
begin
  with taken as (
    delete from rowmill.pending_keys as p
    where p.pipeline_id = write_chunk.pipeline_id and p.id = any (write_chunk.entry_ids)
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
    jsonb_agg(q.key order by q.n) filter (where q.n <= write_chunk.chunk_size),
    jsonb_agg(q.key order by q.n) filter (where q.n > write_chunk.chunk_size),
    (select max(t.queued_at) from taken as t),
    (select bool_or(t.may_repeat) from taken as t),
    (select min(t.id) from taken as t)
  into strict v_keys, v_rest, v_queued_at, v_may_repeat, v_oldest_entry
  from numbered as q;

  if v_rest is not null then
    -- The remainder keeps its place at the head of the queue.
    insert into rowmill.pending_keys (pipeline_id, id, keys, row_count, only_missing, queued_at, may_repeat, first_entry)
    overriding system value
    values (write_chunk.pipeline_id, write_chunk.entry_ids[cardinality(write_chunk.entry_ids)], v_rest, jsonb_array_length(v_rest),
      write_chunk.only_missing, v_queued_at, v_may_repeat, v_oldest_entry);
  end if;

  insert into rowmill.chunks (pipeline_id, keys, row_count, only_missing, may_repeat, oldest_entry, version)
  values (write_chunk.pipeline_id, v_keys, jsonb_array_length(v_keys), write_chunk.only_missing, v_may_repeat, v_oldest_entry,
    write_chunk.version)
  returning id into strict v_chunk_id;
  return v_chunk_id;
end;
$$;
comment on function rowmill.write_chunk is
  'Turns entries of the queue into a waiting chunk and returns its id; what is more than chunk_size keys stays in the queue.';
revoke all on function rowmill.write_chunk from public;
