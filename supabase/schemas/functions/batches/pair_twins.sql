-- API: internal
create or replace function rowmill.pair_twins(
  chunk_ids bigint[],
  twins jsonb -- [{"c": chunk, "n", "of"}]
)
returns void
language plpgsql -- unlike one in SQL, it keeps its plan from call to call
set search_path = pg_catalog, pg_temp
as $$
begin
  update rowmill.chunk_rows as r
  set same_as = t."of"
  from jsonb_to_recordset(pair_twins.twins) as t(c bigint, n integer, "of" integer)
  where r.chunk_id = any (pair_twins.chunk_ids) and r.chunk_id = t.c and r.n = t.n;
end;
$$;
comment on function rowmill.pair_twins is
  'Notes which rows in flight are answered by the request of another row of their chunk, that at place "of".';
revoke all on function rowmill.pair_twins from public;
