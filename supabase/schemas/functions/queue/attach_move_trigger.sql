-- API: internal
create or replace function rowmill.attach_move_trigger(pipeline_id bigint)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_keys text;
  v_moved text;
begin
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = attach_move_trigger.pipeline_id;
  -- An update that moves a row into another partition fires no AFTER UPDATE trigger for it, and it changes the
  -- key, of which the partition's columns are a part.
  if not exists (select from pg_class as c where c.oid = v_pipeline.source and c.relkind = 'p') or exists (
    select from pg_trigger as t where t.tgrelid = v_pipeline.source and t.tgname = format('rowmill_%s_move', v_pipeline.id)
  ) then
    return 0;
  end if;
  -- Generated columns have no value yet before an update, and partition no table.
  select string_agg(format('%I', a.attname), ', '), string_agg(format('old.%1$I is distinct from new.%1$I', a.attname), ' or ')
  into strict v_keys, v_moved
  from pg_attribute as a
  where a.attrelid = v_pipeline.source and a.attnum = any (v_pipeline.key_columns) and a.attgenerated = '';
  execute format(
    $sql$
    create trigger rowmill_%1$s_move before update %2$s on %3$s
    for each row when (%4$s) execute function rowmill.enqueue_edited_%1$s()
    $sql$,
    v_pipeline.id, 'of ' || v_keys, v_pipeline.source, v_moved
  );
  return 1;
end;
$$;
comment on function rowmill.attach_move_trigger is
  'Puts the trigger that queues rows which move to another partition on a partitioned table that lacks it; returns how many it made.';
revoke all on function rowmill.attach_move_trigger from public;
