-- API: internal
create or replace function rowmill.let_go_of_rows(
  chunk_ids bigint[],
  answers jsonb -- [{"c": chunk, "n", …}]
)
returns bigint
language sql
set search_path = pg_catalog, pg_temp
as $$
  with taken as (
    delete from rowmill.chunk_rows as t
    using jsonb_to_recordset(let_go_of_rows.answers) as r(c bigint, n bigint)
    where t.chunk_id = any (let_go_of_rows.chunk_ids) and t.chunk_id = r.c and t.n = r.n
    returning t.n
  )
  select count(*) from taken;
$$;
comment on function rowmill.let_go_of_rows is 'Settles rows in flight whose table is gone; returns how many.';
revoke all on function rowmill.let_go_of_rows from public;
