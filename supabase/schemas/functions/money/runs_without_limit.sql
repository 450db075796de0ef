-- API: internal
create or replace function rowmill.runs_without_limit(pipeline_id bigint)
returns boolean
language plpgsql -- unlike one in SQL, it keeps its plan from call to call
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select
    from rowmill.batch_processing_details as b
    where b.state in ('preparing', 'running', 'ended') and b.reserved_usd is null
    and (runs_without_limit.pipeline_id is null or b.pipeline_id = runs_without_limit.pipeline_id)
  );
end;
$$;
comment on function rowmill.runs_without_limit is
  'Whether a batch of a pipeline (null: of any) is under way of which nobody knows what it may cost at most.';
revoke all on function rowmill.runs_without_limit from public;
