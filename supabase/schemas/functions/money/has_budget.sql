-- API: internal
create or replace function rowmill.has_budget(pipeline_id bigint)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select p.budget_usd is not null or p.daily_budget_usd is not null or s.budget_usd is not null or s.daily_budget_usd is not null
  from rowmill.pipelines as p
  cross join rowmill.settings as s
  where p.id = has_budget.pipeline_id;
$$;
comment on function rowmill.has_budget is
  'Whether any budget holds for a pipeline, its own or the installation''s.';
revoke all on function rowmill.has_budget from public;
