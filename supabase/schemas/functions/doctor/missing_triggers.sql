-- API: internal
create or replace function rowmill.missing_triggers(pipeline rowmill.pipelines)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(distinct format('%s on %s', w.name, w.relation), ', ')
  from (
    select format('rowmill_%s_update', (missing_triggers.pipeline).id) as name, (missing_triggers.pipeline).source as relation
    union all
    select format('rowmill_%s_insert', (missing_triggers.pipeline).id), (missing_triggers.pipeline).source
    -- Rows that are inserted straight into a partition fire its own statement triggers.
    union all
    select format('rowmill_%s_insert', (missing_triggers.pipeline).id), t.relid
    from pg_partition_tree((missing_triggers.pipeline).source) as t
  ) as w
  where not exists (select from pg_trigger as t where t.tgrelid = w.relation and t.tgname = w.name);
$$;
comment on function rowmill.missing_triggers is
  'The triggers that a pipeline''s table and its partitions lack; null where none is missing.';
revoke all on function rowmill.missing_triggers from public;
