-- API: internal
create or replace function rowmill.note_tick_problem(pipeline_id bigint, problem text)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  update rowmill.pipelines as p
  set
    problem = note_tick_problem.problem,
    problem_at = case when note_tick_problem.problem is not null then now() end,
    problem_by = case when note_tick_problem.problem is not null then 'tick' end
  where p.id = note_tick_problem.pipeline_id
  and p.problem is distinct from note_tick_problem.problem
  and (note_tick_problem.problem is not null or p.problem_by = 'tick');
$$;
comment on function rowmill.note_tick_problem is
  'What the tick found wrong, for pipeline_status; null, when it works again, clears what the tick found.';
revoke all on function rowmill.note_tick_problem from public;
