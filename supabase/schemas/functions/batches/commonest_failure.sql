-- API: internal
create or replace function rowmill.commonest_failure(batch_id bigint)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select e.key || coalesce(': ' || rtrim(left(m.message, 300), '.!') || '.', '.')
  from rowmill.batch_processing_details as b
  cross join lateral jsonb_each_text(b.failed_by_class) as e
  left join lateral (
    select f.message
    from rowmill.failures as f
    where f.pipeline_id = b.pipeline_id and f.batch_id = b.id and f.error_class = e.key
    limit 1
  ) as m on true
  where b.id = commonest_failure.batch_id and e.key not in ('batch_expired', 'batch_cancelled')
  order by e.value::integer desc, e.key
  limit 1;
$$;
comment on function rowmill.commonest_failure is
  'The commonest error class among the rows of a batch that failed, with the message of one of them. '
  'What ran out of time or was cancelled is left out.';
revoke all on function rowmill.commonest_failure from public;
