-- API: internal
create or replace function rowmill.worker_functions()
returns setof regprocedure
language sql
stable
set search_path = pg_catalog, pg_temp
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
    'read_chunk', 'record_polls', 'refuse_rows', 'refuse_unread_rows', 'reject_batch', 'release_chunk', 'renew_leases',
    'start_batch', 'tick'
  );
$$;
comment on function rowmill.worker_functions is
  'All that a worker calls, and so all that its roles may call: the one list.';
revoke all on function rowmill.worker_functions from public;
