-- API: internal
create or replace function rowmill.return_rows(
  pipeline_id bigint,
  chunk_ids bigint[],
  answers jsonb -- [{"c": chunk, "n", "h": hash, …}]
)
returns bigint
language sql
set search_path = pg_catalog, pg_temp
as $$
  with taken as (
    delete from rowmill.chunk_rows as t
    using jsonb_to_recordset(return_rows.answers) as r(c bigint, n bigint, h text)
    where t.chunk_id = any (return_rows.chunk_ids) and t.chunk_id = r.c and t.n = r.n and t.hash = r.h
    returning t.key
  ), queued as (
    insert into rowmill.pending_keys (pipeline_id, keys, row_count, only_missing)
    select return_rows.pipeline_id, jsonb_agg(t.key), count(*), true from taken as t having count(*) > 0
  )
  select count(*) from taken;
$$;
comment on function rowmill.return_rows is
  'Queues rows in flight again whose answers cannot be written, to be sent where their outputs are empty still; returns how many.';
revoke all on function rowmill.return_rows from public;
