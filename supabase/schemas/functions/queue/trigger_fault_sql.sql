-- API: internal
create or replace function rowmill.trigger_fault_sql(
  pipeline_id bigint,
  what text, -- 'insert' or 'edit'
  rows_name text, -- as all_keys_sql takes it
  parameters text -- ' using …', or nothing
)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select format(
    $body$
          begin
            execute rowmill.all_keys_sql(%1$s, %3$L) into v_keys%4$s;
          exception when others then
            v_keys := null;
          end;
          begin
            perform rowmill.note_trigger_error(%1$s, %2$L, sqlstate, sqlerrm, v_keys);
          exception when others then
            raise warning 'rowmill: pipeline %1$s: %%', sqlerrm;
          end;
    $body$,
    trigger_fault_sql.pipeline_id, trigger_fault_sql.what, trigger_fault_sql.rows_name, trigger_fault_sql.parameters
  );
$$;
comment on function rowmill.trigger_fault_sql is
  'What a trigger function does with keys that it could not queue, in an exception handler: it notes the error, with the keys where '
  'they can be read. It raises nothing. The function declares v_keys.';
revoke all on function rowmill.trigger_fault_sql from public;
