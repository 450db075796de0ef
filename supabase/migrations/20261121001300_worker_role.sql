-- The role of a worker: it may call the worker's functions and nothing else. Workers need not stop.

do $$
begin
  if not exists (select from pg_roles as r where r.rolname = 'rowmill_worker') then
    create role rowmill_worker nologin;
  end if;
exception
  -- Roles belong to the whole server: another database's migration may be making it at this moment.
  when duplicate_object or unique_violation then null;
  when insufficient_privilege then
    raise notice 'rowmill: this role may not create rowmill_worker; workers connect as the owner of schema rowmill';
end;
$$;

-- API: worker
create function rowmill.migration_versions()
returns setof text
language plpgsql
stable
security definer -- the worker may read nothing else in that schema
set search_path = ''
as $$
begin
  return query execute 'select m.version from supabase_migrations.schema_migrations as m order by m.version';
end;
$$;
comment on function rowmill.migration_versions() is 'The versions that are applied, wherever they came from: the Supabase CLI, npm run migrate or a worker.';
revoke all on function rowmill.migration_versions() from public;

do $$
declare
  v_function regprocedure;
begin
  if not exists (select from pg_roles as r where r.rolname = 'rowmill_worker') then
    return;
  end if;
  grant usage on schema rowmill to rowmill_worker;
  for v_function in
    select p.oid::regprocedure
    from pg_proc as p
    where p.pronamespace = 'rowmill'::regnamespace
    and p.proname in (
      'claim_chunk', 'claim_waiting_chunks', 'release_chunk', 'hold_rows', 'read_chunk', 'get_pipeline', 'close_chunk', 'put_back_rows',
      'refuse_rows', 'begin_batch', 'note_input_file', 'start_batch', 'claim_stale_intents', 'let_go_of_batch', 'abandon_batch',
      'reject_batch', 'renew_leases', 'claim_due_polls', 'record_poll', 'note_poll_problem', 'claim_ended_batches', 'apply_results',
      'finish_harvest', 'finish_batch', 'note_pipeline_problem', 'tick', 'migration_versions'
    )
  loop
    execute format('grant execute on function %s to rowmill_worker', v_function);
  end loop;
end;
$$;
