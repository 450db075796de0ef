-- API: internal
create or replace function rowmill.attach_triggers(
  pipeline_id bigint,
  anew boolean default false -- true: other columns are watched than before
)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_table regclass;
  v_watched text;
  v_changed text;
  v_keys text;
  v_moved text;
  v_made integer := 0;
begin
  select p.* into strict v_pipeline
  from rowmill.pipelines as p
  where p.id = attach_triggers.pipeline_id;

  select
    string_agg(format('%I', a.attname), ', ' order by a.attnum),
    -- Compared as text: that is what the prompt sees, and json has no "=".
    string_agg(format('old.%1$I::text is distinct from new.%1$I::text', a.attname), ' or ' order by a.attnum)
  into strict v_watched, v_changed
  from pg_attribute as a
  where a.attrelid = v_pipeline.source
  and a.attnum = any (rowmill.watched_columns(v_pipeline));

  -- Generated columns have no value yet before an update, and partition no table.
  select string_agg(format('%I', a.attname), ', '), string_agg(format('old.%1$I is distinct from new.%1$I', a.attname), ' or ')
  into strict v_keys, v_moved
  from pg_attribute as a
  where a.attrelid = v_pipeline.source and a.attnum = any (v_pipeline.key_columns) and a.attgenerated = '';

  -- Then every update is looked at.
  if rowmill.has_before_triggers(v_pipeline.source) then
    v_watched := null;
  end if;

  -- Rows inserted straight into a partition fire its own statement triggers, not its parent's.
  for v_table in
    select v_pipeline.source
    union
    select t.relid from pg_partition_tree(v_pipeline.source) as t
  loop
    if not exists (
      select from pg_trigger as t where t.tgrelid = v_table and t.tgname = format('rowmill_%s_insert', v_pipeline.id)
    ) then
      execute format(
        'create trigger rowmill_%1$s_insert after insert on %2$s referencing new table as new_rows for each statement execute function rowmill.enqueue_inserted_%1$s()',
        v_pipeline.id, v_table
      );
      v_made := v_made + 1;
    end if;
  end loop;

  -- Row triggers are handed down to partitions by Postgres.
  if attach_triggers.anew or not exists (
    select from pg_trigger as t
    where t.tgrelid = v_pipeline.source and t.tgname = format('rowmill_%s_update', v_pipeline.id)
    and (v_watched is not null or t.tgattr::text = '')
  ) then
    execute format(
      'create or replace trigger rowmill_%1$s_update after update %2$s on %3$s for each row when (%4$s) execute function rowmill.enqueue_edited_%1$s()',
      v_pipeline.id, 'of ' || v_watched, v_pipeline.source, v_changed
    );
    v_made := v_made + 1;
  end if;

  -- An update that moves a row into another partition fires no AFTER UPDATE trigger for it, and it changes the
  -- key, of which the partition's columns are a part.
  if exists (select from pg_class as c where c.oid = v_pipeline.source and c.relkind = 'p') and not exists (
    select from pg_trigger as t where t.tgrelid = v_pipeline.source and t.tgname = format('rowmill_%s_move', v_pipeline.id)
  ) then
    execute format(
      'create trigger rowmill_%1$s_move before update %2$s on %3$s for each row when (%4$s) execute function rowmill.enqueue_edited_%1$s()',
      v_pipeline.id, 'of ' || v_keys, v_pipeline.source, v_moved
    );
    v_made := v_made + 1;
  end if;
  return v_made;
end;
$$;
comment on function rowmill.attach_triggers is
   'Puts a pipeline''s triggers on its table and on every partition that lacks them; returns how many it made. Harmless to repeat.';
revoke all on function rowmill.attach_triggers from public;
