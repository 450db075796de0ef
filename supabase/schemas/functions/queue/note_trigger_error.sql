-- API: internal
create or replace function rowmill.note_trigger_error(pipeline_id bigint, sqlstate text, message text, keys_lost boolean)
returns void
language plpgsql
security definer -- whoever inserts has no rights here
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into rowmill.trigger_errors (pipeline_id, sqlstate, message, keys_lost)
  values (note_trigger_error.pipeline_id, note_trigger_error.sqlstate, note_trigger_error.message, note_trigger_error.keys_lost);
exception when others then
  -- Nowhere left to write it down; a warning still reaches the client and the server's log.
  raise warning 'rowmill: pipeline %: % (%)',
    note_trigger_error.pipeline_id, note_trigger_error.message, note_trigger_error.sqlstate;
end;
$$;
comment on function rowmill.note_trigger_error is
  'Writes down what went wrong in a trigger. Never raises.';
revoke all on function rowmill.note_trigger_error from public;
