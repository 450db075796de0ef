-- API: internal
create or replace function rowmill.trigger_errors_of(pipeline_id bigint, out times bigint, out message text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select count(*), (array_agg(e.message order by e.happened_at desc))[1]
  from (
    select e.message, e.happened_at
    from rowmill.trigger_errors as e
    where e.pipeline_id = trigger_errors_of.pipeline_id
    order by e.happened_at desc
    limit 1000
  ) as e;
$$;
comment on function rowmill.trigger_errors_of is 'How often a pipeline''s triggers failed of late, and the message to show.';
revoke all on function rowmill.trigger_errors_of from public;
