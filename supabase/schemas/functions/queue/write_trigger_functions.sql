-- API: internal
create or replace function rowmill.write_trigger_functions(pipeline_id bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner name := rowmill.owner_name();
  v_function record;
begin
  for v_function in
    select f.name, f.body, f.about
    from (values
      ('inserted', rowmill.insert_trigger_body(write_trigger_functions.pipeline_id), 'Queues the keys of inserted rows.'),
      ('edited', rowmill.edit_trigger_body(write_trigger_functions.pipeline_id), 'Queues the key of an edited row.')
    ) as f(name, body, about)
  loop
    -- The bodies are quoted as literals: no name of a column can end them, as it could end a dollar quote.
    execute format(
      $sql$
      create or replace function rowmill.enqueue_%1$s_%2$s()
      returns trigger
      language plpgsql
      security definer -- who inserts or updates has no rights here
      set search_path = pg_catalog, pg_temp set lock_timeout = '200ms' %3$s
      as %4$L
      $sql$,
      v_function.name, write_trigger_functions.pipeline_id, rowmill.key_settings(write_trigger_functions.pipeline_id), v_function.body
    );
    execute format('revoke all on function rowmill.enqueue_%s_%s() from public', v_function.name, write_trigger_functions.pipeline_id);
    execute format(
      'comment on function rowmill.enqueue_%s_%s() is %L',
      v_function.name, write_trigger_functions.pipeline_id, v_function.about || ' Written by rowmill.write_trigger_functions.'
    );
    if v_owner <> current_user then
      -- A superuser who declares a pipeline lends it no rights of his.
      execute format('alter function rowmill.enqueue_%s_%s() owner to %I', v_function.name, write_trigger_functions.pipeline_id, v_owner);
    end if;
  end loop;
  -- Its number is all that is left where neither a key nor an error could be written; see note_trigger_error.
  execute format('create sequence if not exists rowmill.lost_keys_%s', write_trigger_functions.pipeline_id);
  if v_owner <> current_user then
    execute format('alter sequence rowmill.lost_keys_%s owner to %I', write_trigger_functions.pipeline_id, v_owner);
  end if;

  update rowmill.pipelines as p
  set trigger_names = rowmill.trigger_names_of(p.id)
  where p.id = write_trigger_functions.pipeline_id;
end;
$$;
comment on function rowmill.write_trigger_functions is
  'Writes (or rewrites, after a rename) the two trigger functions of a pipeline, with static SQL: dynamic SQL would be planned at '
  'every statement.';
revoke all on function rowmill.write_trigger_functions from public;
