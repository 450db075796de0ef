-- API: public
create or replace function rowmill.cancel_batch(batch_id bigint)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_state text;
begin
  update rowmill.batch_processing_details as b
  set cancel_asked = true, poll_at = case b.state when 'running' then now() else b.poll_at end
  where b.id = cancel_batch.batch_id and b.state in ('preparing', 'running')
  returning b.state into v_state;
  if found then
    return 'It is cancelled at the next look, within seconds. What was answered is collected and paid for; '
      'the other rows are queued again, unless the pipeline is paused.';
  end if;
  select b.state into v_state from rowmill.batch_processing_details as b where b.id = cancel_batch.batch_id;
  raise exception using errcode = 'RM115',
    message = case
      when v_state is null then format('there is no batch %s', coalesce(cancel_batch.batch_id::text, 'null'))
      else format('batch %s is over', cancel_batch.batch_id)
    end,
    detail = case when v_state is null then 'batch_id is Rowmill''s number, not the provider''s id.' else format('It is %s.', v_state) end,
    hint = 'select batch_id, pipeline, state from rowmill.batch_status where state in (''preparing'', ''running'');';
end;
$$;
comment on function rowmill.cancel_batch is
  'Has one batch cancelled at the provider; returns what follows. '
  'Its rows without an answer go round again without an attempt counted: pause the pipeline first to keep them from it. '
  'Raises RM115 (no such batch, or it is over).';
revoke all on function rowmill.cancel_batch from public;
