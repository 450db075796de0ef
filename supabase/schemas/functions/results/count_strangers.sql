-- API: internal
create or replace function rowmill.count_strangers(
  batch_id bigint,
  outcomes jsonb -- [{"c": chunk, "n", …}]
)
returns integer
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select count(*)::integer
  from jsonb_to_recordset(count_strangers.outcomes) as r(c bigint, n bigint)
  where not exists (
    select
    from rowmill.chunks as c
    where c.id = r.c and c.batch_id = count_strangers.batch_id and r.n >= 0 and r.n < c.row_count
  );
$$;
comment on function rowmill.count_strangers is
  'How many outcomes name a chunk of another batch, or a place that their chunk has not. What else settles nothing came before.';
revoke all on function rowmill.count_strangers from public;
