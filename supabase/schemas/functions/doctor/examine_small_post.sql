-- API: internal
create or replace function rowmill.examine_small_post()
returns rowmill.finding
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select f.* from rowmill.judge_probe(rowmill.probe_of(false)) as f;
$$;
comment on function rowmill.examine_small_post is
  'Whether a small post arrives at a worker.';
revoke all on function rowmill.examine_small_post from public;
