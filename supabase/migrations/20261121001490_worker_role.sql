-- The worker's role may call the functions that came since. Workers need not stop.

do $$
declare
  v_function regprocedure;
begin
  if not exists (select from pg_roles as r where r.rolname = 'rowmill_worker') then
    return;
  end if;
  for v_function in
    select p.oid::regprocedure
    from pg_proc as p
    where p.pronamespace = 'rowmill'::regnamespace
    and p.proname in (
      'renew_leases', 'begin_batch', 'start_batch', 'abandon_batch', 'reject_batch', 'claim_sweeps', 'finish_sweep',
      'claim_due_polls', 'record_polls', 'note_poll_problem', 'note_gone_file'
    )
  loop
    execute format('grant execute on function %s to rowmill_worker', v_function);
  end loop;
end;
$$;
