-- API: internal
create or replace function rowmill.attach_triggers(
  pipeline_id bigint,
  anew boolean default false -- true: other columns are watched than before
)
returns integer
language sql
set search_path = pg_catalog, pg_temp
as $$
  select
    rowmill.attach_insert_triggers(attach_triggers.pipeline_id)
    + rowmill.attach_update_trigger(attach_triggers.pipeline_id, attach_triggers.anew)
    + rowmill.attach_move_trigger(attach_triggers.pipeline_id);
$$;
comment on function rowmill.attach_triggers is
  'Puts a pipeline''s triggers on its table and on every partition that lacks them; returns how many it made. Harmless to repeat.';
revoke all on function rowmill.attach_triggers from public;
