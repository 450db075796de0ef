-- API: internal
create or replace function rowmill.lock_row_versions(
  pipeline_id bigint,
  chunk_ids bigint[],
  answers jsonb -- [{"c": chunk, "n", "h": hash, …}]
)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  -- Before the rows of the table, which an answer of another version may be about to write, and all at once, since a slice may
  -- be written in halves. The entries that are missing come as what their absence means.
  insert into rowmill.row_versions as v (pipeline_id, key, version)
  select lock_row_versions.pipeline_id, h.key, 1
  from (
    select distinct on (md5(t.key::text)) t.key
    from (
      select t.key
      from rowmill.chunk_rows as t
      join jsonb_to_recordset(lock_row_versions.answers) as r(c bigint, n bigint, h text)
        on t.chunk_id = r.c and t.n = r.n and t.hash = r.h
      where t.chunk_id = any (lock_row_versions.chunk_ids)
      order by md5(t.key::text)
      for update of t
    ) as t
    order by md5(t.key::text)
  ) as h
  on conflict (pipeline_id, md5(key::text)) do update set version = v.version where false;
$$;
comment on function rowmill.lock_row_versions is
  'Locks what row_versions says of the rows of these answers, in one order for all sessions, until the transaction ends.';
revoke all on function rowmill.lock_row_versions from public;
