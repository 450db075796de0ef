-- API: internal
create or replace function rowmill.count_failures(
  batch_id bigint,
  by_class jsonb -- {"class": rows}
)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  update rowmill.batch_processing_details as b
  set failed_by_class = (
    select jsonb_object_agg(s.class, s.rows)
    from (
      select e.key as class, sum(e.value::integer) as rows
      from (select * from jsonb_each_text(b.failed_by_class) union all select * from jsonb_each_text(count_failures.by_class)) as e
      group by e.key
    ) as s
  )
  where b.id = count_failures.batch_id;
$$;
comment on function rowmill.count_failures is 'Adds failed rows to the counts of their batch.';
revoke all on function rowmill.count_failures from public;
