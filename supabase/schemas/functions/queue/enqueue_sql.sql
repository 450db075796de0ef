-- API: internal
create or replace function rowmill.enqueue_sql(
  pipeline_id bigint,
  rows_name text,
  may_repeat boolean default true -- false: the rows were inserted just now
)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select format(
    $sql$with queued as (
          insert into rowmill.pending_keys (pipeline_id, keys, row_count, may_repeat)
          select %1$s, jsonb_agg(k.key), count(*), %4$L::boolean
          from (select jsonb_build_array(%2$s) as key, (row_number() over () - 1) / 1000 as slice from %3$s as s) as k
          group by k.slice
          order by k.slice
          returning id, row_count
        )
        select max(queued.id), sum(queued.row_count) from queued$sql$,
    enqueue_sql.pipeline_id, rowmill.key_elements(enqueue_sql.pipeline_id, 's'), enqueue_sql.rows_name, enqueue_sql.may_repeat
  );
$$;
comment on function rowmill.enqueue_sql is
  'The statement that notes the keys of a transition table, or of any rows given as "rows_name", in slices of 1,000; it returns '
  'the last entry''s id and the number of rows.';
revoke all on function rowmill.enqueue_sql from public;
