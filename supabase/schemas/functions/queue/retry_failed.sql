-- API: public
create or replace function rowmill.retry_failed(
  pipeline text,
  error_class text default null -- null: whatever it was
)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_rows bigint;
begin
  with forgotten as (
    delete from rowmill.failures as f
    where f.pipeline_id = v_pipeline.id and f.is_final
    and (retry_failed.error_class is null or f.error_class = retry_failed.error_class)
    returning f.key
  ), queued as (
    insert into rowmill.pending_keys (pipeline_id, keys, row_count)
    select v_pipeline.id, jsonb_agg(q.key), count(*)
    from (select f.key, (row_number() over () - 1) / 1000 as slice from forgotten as f) as q
    group by q.slice
    returning row_count
  )
  select coalesce(sum(q.row_count), 0) into strict v_rows from queued as q;
  if v_rows = 0 and retry_failed.error_class is not null and not exists (
    select from rowmill.failures as f where f.pipeline_id = v_pipeline.id and f.error_class = retry_failed.error_class
  ) and exists (select from rowmill.failures as f where f.pipeline_id = v_pipeline.id and f.is_final) then
    raise exception using errcode = 'RM109', message = format('no row of "%s" failed with %s', v_pipeline.name, retry_failed.error_class),
      detail = (
        select format('Its failures are: %s.', string_agg(c.part, ', ' order by c.part))
        from (
          select format('%s (%s)', f.error_class, count(*)) as part
          from rowmill.failures as f
          where f.pipeline_id = v_pipeline.id and f.is_final
          group by f.error_class
        ) as c
      ),
      hint = 'select error_class, count(*) from rowmill.row_failures group by 1;';
  end if;
  return v_rows;
end;
$$;
comment on function rowmill.retry_failed is
  'Queues the rows that stand in row_failures, all or those of one class, with all their attempts anew; returns how many. They are '
  'paid for again. Raises RM111, RM109 (no such failures, while there are others).';
revoke all on function rowmill.retry_failed from public;
