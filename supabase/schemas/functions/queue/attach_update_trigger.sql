-- API: internal
create or replace function rowmill.attach_update_trigger(
  pipeline_id bigint,
  anew boolean -- true: other columns are watched than before
)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_watched text;
  v_changed text;
begin
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = attach_update_trigger.pipeline_id;
  select
    string_agg(format('%I', a.attname), ', ' order by a.attnum),
    -- Compared as text: that is what the prompt sees, and json has no "=".
    string_agg(
      format('old.%1$I::pg_catalog.text is distinct from new.%1$I::pg_catalog.text', a.attname), ' or ' order by a.attnum
    )
  into strict v_watched, v_changed
  from pg_attribute as a
  where a.attrelid = v_pipeline.source and a.attnum = any (rowmill.watched_columns(v_pipeline));
  -- Then every update is looked at.
  if rowmill.has_before_triggers(v_pipeline.source) then
    v_watched := null;
  end if;

  -- Row triggers are handed down to partitions by Postgres.
  if not attach_update_trigger.anew and exists (
    select
    from pg_trigger as t
    where t.tgrelid = v_pipeline.source and t.tgname = format('rowmill_%s_update', v_pipeline.id)
    and (v_watched is not null or t.tgattr::text = '')
  ) then
    return 0;
  end if;
  execute format(
    $sql$
    create or replace trigger rowmill_%1$s_update after update %2$s on %3$s
    for each row when (%4$s) execute function rowmill.enqueue_edited_%1$s()
    $sql$,
    v_pipeline.id, 'of ' || v_watched, v_pipeline.source, v_changed
  );
  return 1;
end;
$$;
comment on function rowmill.attach_update_trigger is
  'Puts the trigger that queues edited rows on a pipeline''s table where it is missing or watches too little; returns how many it made.';
revoke all on function rowmill.attach_update_trigger from public;
