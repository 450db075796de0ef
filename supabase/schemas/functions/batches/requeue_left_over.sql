-- API: internal
create or replace function rowmill.requeue_left_over(
  pipeline_id bigint,
  chunk_ids bigint[],
  left_over jsonb -- [{"c": chunk, "n"}]
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from rowmill.chunk_rows as r
  using jsonb_to_recordset(requeue_left_over.left_over) as l(c bigint, n integer)
  where r.chunk_id = any (requeue_left_over.chunk_ids) and r.chunk_id = l.c and r.n = l.n;
  insert into rowmill.pending_keys (pipeline_id, keys, row_count, only_missing, may_repeat, first_entry)
  -- They may repeat: an intent that is given up leaves them in its chunk as well.
  select requeue_left_over.pipeline_id, jsonb_agg(q.key order by q.place), count(*), q.only_missing, true, q.oldest_entry
  from (
    select c.id, c.keys -> l.n as key, l.place, c.only_missing, c.oldest_entry,
      (row_number() over (partition by c.id order by l.place) - 1) / 1000 as slice
    from rows from (jsonb_to_recordset(requeue_left_over.left_over) as (c bigint, n integer)) with ordinality as l(c, n, place)
    join rowmill.chunks as c on c.id = l.c and c.id = any (requeue_left_over.chunk_ids)
    where l.n >= 0 and l.n < c.row_count
  ) as q
  group by q.id, q.slice, q.only_missing, q.oldest_entry;
end;
$$;
comment on function rowmill.requeue_left_over is
  'Queues rows of chunks again that found no room in a batch''s file, by the thousand; they are not in flight any more.';
revoke all on function rowmill.requeue_left_over from public;
