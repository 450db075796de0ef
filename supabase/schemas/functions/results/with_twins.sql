-- API: internal
create or replace function rowmill.with_twins(
  outcomes jsonb, -- [{"c": chunk, "n", …}]
  chunk_ids bigint[]
)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select with_twins.outcomes || coalesce(jsonb_agg(o.value || jsonb_build_object('n', r.n)), '[]')
  from jsonb_array_elements(with_twins.outcomes) as o(value)
  join rowmill.chunk_rows as r
    on r.chunk_id = (o.value ->> 'c')::bigint and r.same_as = (o.value ->> 'n')::bigint and r.hash = o.value ->> 'h'
  where r.chunk_id = any (with_twins.chunk_ids);
$$;
comment on function rowmill.with_twins is
  'Outcomes of requests, and the same for each row in flight that has the input of one of them.';
revoke all on function rowmill.with_twins from public;
