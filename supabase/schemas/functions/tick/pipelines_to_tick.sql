-- API: internal
create or replace function rowmill.pipelines_to_tick()
returns setof rowmill.pipelines
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select p.*
  from rowmill.pipelines as p
  where p.state = 'active'
  and (
    exists (select from rowmill.pending_keys as k where k.pipeline_id = p.id)
    or exists (select from rowmill.backfills as b where b.pipeline_id = p.id and b.finished_at is null)
    or p.trigger_names <> coalesce(rowmill.trigger_names_of(p.id), '')
    or rowmill.triggers_are_behind(p.id)
    or p.problem_by = 'tick'
    or exists (select from rowmill.trigger_errors as e where e.pipeline_id = p.id and (e.what = 'chunk' or e.keys is not null))
  )
  order by p.id;
$$;
comment on function rowmill.pipelines_to_tick is
  'Active pipelines with something to do, or to look at again.';
revoke all on function rowmill.pipelines_to_tick from public;
