-- API: internal
create or replace function rowmill.attach_insert_triggers(pipeline_id bigint)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table regclass;
  v_made integer := 0;
begin
  -- Rows inserted straight into a partition fire its own statement triggers, not its parent's.
  for v_table in
    select t.relation
    from rowmill.pipelines as p
    cross join lateral (select p.source union select t.relid from pg_partition_tree(p.source) as t) as t(relation)
    where p.id = attach_insert_triggers.pipeline_id
    and not exists (select from pg_trigger as g where g.tgrelid = t.relation and g.tgname = format('rowmill_%s_insert', p.id))
  loop
    execute format(
      $sql$
      create trigger rowmill_%1$s_insert after insert on %2$s
      referencing new table as new_rows for each statement execute function rowmill.enqueue_inserted_%1$s()
      $sql$,
      attach_insert_triggers.pipeline_id, v_table
    );
    v_made := v_made + 1;
  end loop;
  return v_made;
end;
$$;
comment on function rowmill.attach_insert_triggers is
  'Puts the trigger that queues inserted rows on a pipeline''s table and on each partition that lacks it; returns how many it made.';
revoke all on function rowmill.attach_insert_triggers from public;
