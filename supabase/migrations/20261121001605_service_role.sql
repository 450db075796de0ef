-- A worker may come through the Data API as service_role: it gets the rights of rowmill_worker, and no more.
-- Workers need not stop.

-- API: internal
create function rowmill.worker_functions()
returns setof regprocedure
language sql
stable
set search_path = ''
as $$
  -- A migration that makes one of them anew, or a new one, calls grant_to_workers() afterwards.
  select p.oid::regprocedure
  from pg_proc as p
  where p.pronamespace = 'rowmill'::regnamespace
  and p.proname in (
    'abandon_batch', 'apply_results', 'begin_batch', 'claim_chunk', 'claim_due_polls', 'claim_ended_batches',
    'claim_stale_intents', 'claim_sweeps', 'claim_work', 'close_chunk', 'doctor', 'finish_batch', 'finish_harvest',
    'finish_sweep', 'get_pipeline', 'hold_back_chunks', 'hold_rows', 'knows_secret', 'let_go_of_batch', 'migration_versions',
    'note_gone_file', 'note_input_file', 'note_pipeline_problem', 'note_poll_problem', 'note_webhook', 'probes_under_way',
    'read_chunk', 'record_polls', 'refuse_rows', 'reject_batch', 'release_chunk', 'renew_leases', 'start_batch', 'tick'
  );
$$;
comment on function rowmill.worker_functions() is 'All that a worker calls, and so all that its roles may call: the one list.';
revoke all on function rowmill.worker_functions() from public;

-- API: internal
create function rowmill.grant_to_workers()
returns void
language plpgsql
set search_path = ''
as $$
declare
  v_function record;
  v_role text;
begin
  for v_function in
    select p.oid::regprocedure as signature, p.oid in (select w.signature from rowmill.worker_functions() as w(signature)) as is_workers
    from pg_catalog.pg_proc as p
    where p.pronamespace = 'rowmill'::regnamespace
    order by p.oid
  loop
    if v_function.is_workers then
      -- The Data API gives a statement 8 seconds, and more only where the function says so. On a connection of one's own
      -- this does nothing: a running statement's time is not changed from within.
      execute format('alter function %s set statement_timeout = ''50s''', v_function.signature);
    end if;
    -- Either may be missing: a server that lets nobody create roles, one that is no Supabase.
    for v_role in
      select r.rolname from pg_catalog.pg_roles as r where r.rolname in ('rowmill_worker', 'service_role')
    loop
      if v_function.is_workers then
        execute format('grant execute on function %s to %I', v_function.signature, v_role);
      elsif pg_catalog.has_function_privilege(v_role, v_function.signature::oid, 'execute') then
        execute format('revoke execute on function %s from %I', v_function.signature, v_role);
      end if;
    end loop;
  end loop;
  for v_role in
    select r.rolname from pg_catalog.pg_roles as r where r.rolname in ('rowmill_worker', 'service_role')
  loop
    execute format('grant usage on schema rowmill to %I', v_role);
  end loop;
end;
$$;
comment on function rowmill.grant_to_workers() is
  'Lets rowmill_worker and service_role, as far as they exist, call the worker''s functions and nothing else of schema rowmill. Repeats harmlessly.';
revoke all on function rowmill.grant_to_workers() from public;

select rowmill.grant_to_workers();
