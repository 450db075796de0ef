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
      'claim_chunk', 'claim_work', 'hold_back_chunks', 'begin_batch', 'hold_rows', 'abandon_batch', 'reject_batch', 'finish_harvest',
      'apply_results', 'record_polls', 'get_pipeline', 'claim_ended_batches'
    )
  loop
    execute format('grant execute on function %s to rowmill_worker', v_function);
  end loop;
end;
$$;
