-- API: internal
create or replace function rowmill.is_being_tried(pipeline_id bigint)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from rowmill.pipelines as p where p.id = is_being_tried.pipeline_id and p.strikes > 0
  ) and (
    exists (
      select from rowmill.chunks as c where c.pipeline_id = is_being_tried.pipeline_id and c.state = 'accepted'
    ) or exists (
      select from rowmill.batch_processing_details as b where b.pipeline_id = is_being_tried.pipeline_id and b.state = 'preparing'
    )
  );
$$;
comment on function rowmill.is_being_tried is
  'Whether one batch is on its way to a provider that took none before: the others wait for what becomes of it.';
revoke all on function rowmill.is_being_tried from public;
