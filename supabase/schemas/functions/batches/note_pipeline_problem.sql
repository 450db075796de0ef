-- API: worker
create or replace function rowmill.note_pipeline_problem(pipeline_id bigint, problem text)
returns void
language sql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
  update rowmill.pipelines as p
  set
    problem = note_pipeline_problem.problem,
    problem_at = case when note_pipeline_problem.problem is not null then now() end,
    problem_by = case when note_pipeline_problem.problem is not null then 'worker' end
  where p.id = note_pipeline_problem.pipeline_id
  and p.problem is distinct from note_pipeline_problem.problem
  and (note_pipeline_problem.problem is not null or p.problem_by = 'worker');
$$;
comment on function rowmill.note_pipeline_problem is
  'What a worker found wrong, for pipeline_status; null, when it works again, clears what a worker found.';
revoke all on function rowmill.note_pipeline_problem from public;
