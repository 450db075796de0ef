-- API: internal
create or replace function rowmill.bring_triggers_up(
  pipeline rowmill.pipelines,
  out has_attached boolean, -- the table is locked against writers until the transaction ends
  out problem text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  has_attached := false;
  if (bring_triggers_up.pipeline).trigger_names <> rowmill.trigger_names_of((bring_triggers_up.pipeline).id) then
    perform rowmill.write_trigger_functions((bring_triggers_up.pipeline).id);
  end if;
  has_attached := rowmill.triggers_are_behind((bring_triggers_up.pipeline).id)
    and rowmill.attach_triggers((bring_triggers_up.pipeline).id) > 0;
exception
  when lock_not_available then
    null; -- somebody writes; the next tick tries again
  when insufficient_privilege then
    problem := format('its triggers could not be brought up to date: %s; drop_pipeline(%L) and create it again as the owner of both',
      sqlerrm, (bring_triggers_up.pipeline).name);
end;
$$;
comment on function rowmill.bring_triggers_up is
  'Brings a pipeline''s triggers up to renamed columns, new partitions and BEFORE triggers; says why not where the owner may not.';
revoke all on function rowmill.bring_triggers_up from public;
