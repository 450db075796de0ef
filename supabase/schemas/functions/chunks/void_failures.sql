-- API: internal
create or replace function rowmill.void_failures(
  pipeline_id bigint,
  keys jsonb, -- of a chunk
  rows jsonb -- [{"n": place in it, "hash"}]
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform
  from rowmill.failures as f
  join jsonb_to_recordset(void_failures.rows) as r(n integer, hash text) on md5(f.key::text) = md5((void_failures.keys -> r.n)::text)
  where f.pipeline_id = void_failures.pipeline_id and f.hash <> r.hash
  order by md5(f.key::text)
  for update of f;
  delete from rowmill.failures as f
  using jsonb_to_recordset(void_failures.rows) as r(n integer, hash text)
  where f.pipeline_id = void_failures.pipeline_id
  and md5(f.key::text) = md5((void_failures.keys -> r.n)::text)
  and f.hash <> r.hash;
end;
$$;
comment on function rowmill.void_failures is
  'Forgets failures of rows that are asked for with another input: an edit makes an old failure''s count and verdict void.';
revoke all on function rowmill.void_failures from public;
