-- What an operator does about failures, batches and money. Workers need not stop.

-- API: public
create function rowmill.retry_failed(
  pipeline text,
  error_class text default null -- null: whatever it was
)
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_rows bigint;
begin
  with forgotten as (
    delete from rowmill.failures as f
    where f.pipeline_id = v_pipeline.id and f.is_final
    and (retry_failed.error_class is null or f.error_class = retry_failed.error_class)
    returning f.key
  ), queued as (
    insert into rowmill.pending_keys (pipeline_id, keys, row_count)
    select v_pipeline.id, jsonb_agg(q.key), count(*)
    from (select f.key, (row_number() over () - 1) / 1000 as slice from forgotten as f) as q
    group by q.slice
    returning row_count
  )
  select coalesce(sum(q.row_count), 0) into strict v_rows from queued as q;
  if v_rows = 0 and retry_failed.error_class is not null and not exists (
    select from rowmill.failures as f where f.pipeline_id = v_pipeline.id and f.error_class = retry_failed.error_class
  ) and exists (select from rowmill.failures as f where f.pipeline_id = v_pipeline.id and f.is_final) then
    raise exception using errcode = 'RM109', message = format('no row of "%s" failed with %s', v_pipeline.name, retry_failed.error_class),
      detail = (
        select format('Its failures are: %s.', string_agg(c.part, ', ' order by c.part))
        from (
          select format('%s (%s)', f.error_class, count(*)) as part
          from rowmill.failures as f
          where f.pipeline_id = v_pipeline.id and f.is_final
          group by f.error_class
        ) as c
      ),
      hint = 'select error_class, count(*) from rowmill.row_failures group by 1;';
  end if;
  return v_rows;
end;
$$;
comment on function rowmill.retry_failed(text, text) is
  'Queues the rows that stand in row_failures, all or those of one class, with all their attempts anew; returns how many. They are paid for again. Raises RM111, RM109 (no such failures, while there are others).';
revoke all on function rowmill.retry_failed(text, text) from public;

-- API: public
create function rowmill.cancel_batch(batch_id bigint)
returns text
language plpgsql
set search_path = ''
as $$
declare
  v_state text;
begin
  update rowmill.batch_processing_details as b
  set cancel_asked = true, poll_at = case b.state when 'running' then now() else b.poll_at end
  where b.id = cancel_batch.batch_id and b.state in ('preparing', 'running')
  returning b.state into v_state;
  if found then
    return 'It is cancelled at the next look, within seconds. What was answered is collected and paid for; the other rows are queued again, unless the pipeline is paused.';
  end if;
  select b.state into v_state from rowmill.batch_processing_details as b where b.id = cancel_batch.batch_id;
  raise exception using errcode = 'RM115',
    message = case when v_state is null then format('there is no batch %s', coalesce(cancel_batch.batch_id::text, 'null')) else format('batch %s is over', cancel_batch.batch_id) end,
    detail = case when v_state is null then 'batch_id is Rowmill''s number, not the provider''s id.' else format('It is %s.', v_state) end,
    hint = 'select batch_id, pipeline, state from rowmill.batch_status where state in (''preparing'', ''running'');';
end;
$$;
comment on function rowmill.cancel_batch(bigint) is
  'Has one batch cancelled at the provider; returns what follows. Its rows without an answer go round again without an attempt counted: pause the pipeline first to keep them from it. Raises RM115 (no such batch, or it is over).';
revoke all on function rowmill.cancel_batch(bigint) from public;

-- API: public
create function rowmill.cancel_pipeline(pipeline text)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_batches integer;
begin
  update rowmill.pipelines as p
  set state = 'paused', state_reason = 'It was cancelled. What was answered is collected; the rest waits in the queue.'
  where p.id = v_pipeline.id;
  update rowmill.batch_processing_details as b
  set cancel_asked = true, poll_at = case b.state when 'running' then now() else b.poll_at end
  where b.pipeline_id = v_pipeline.id and b.state in ('preparing', 'running');
  get diagnostics v_batches = row_count;
  return v_batches;
end;
$$;
comment on function rowmill.cancel_pipeline(text) is
  'Pauses a pipeline and has all that runs cancelled; returns how many batches. What was answered, and so paid for, is collected; the other rows wait in the queue for resume_pipeline. Raises RM111.';
revoke all on function rowmill.cancel_pipeline(text) from public;

-- API: public
create or replace function rowmill.resume_pipeline(pipeline text)
returns void
language plpgsql
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
begin
  update rowmill.pipelines as p
  set
    state = 'active', state_reason = null, problem = null, problem_at = null, problem_by = null,
    failed_in_row = 0, rows_failed_in_row = 0, strikes = 0, wait_until = null, wait_reason = null
  where p.id = v_pipeline.id;
end;
$$;

-- API: public
create or replace function rowmill.drop_pipeline(pipeline text)
returns void
language plpgsql
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_batch_id bigint;
begin
  perform rowmill.detach_triggers(v_pipeline.id);
  update rowmill.pipelines as p
  set state = 'dropped', dropped_at = now(), state_reason = null
  where p.id = v_pipeline.id;
  delete from rowmill.pending_keys as k where k.pipeline_id = v_pipeline.id;
  delete from rowmill.chunk_rows as r where r.pipeline_id = v_pipeline.id;
  delete from rowmill.failures as f where f.pipeline_id = v_pipeline.id;
  delete from rowmill.trigger_errors as e where e.pipeline_id = v_pipeline.id;
  delete from rowmill.backfills as b where b.pipeline_id = v_pipeline.id;
  delete from rowmill.pipeline_versions as v where v.pipeline_id = v_pipeline.id;
  delete from rowmill.row_versions as v where v.pipeline_id = v_pipeline.id;
  -- A worker that holds one of these finds it done and lets go.
  update rowmill.chunks as c
  set state = 'done', owner = null, lease_until = null, keys = null, ended_at = now(), waits_for = null, wait_reason = null
  where c.pipeline_id = v_pipeline.id and c.state <> 'done';
  -- Nobody waits for what still runs: it is cancelled at the provider, and its files are deleted.
  update rowmill.batch_processing_details as b
  set cancel_asked = true, poll_at = now()
  where b.pipeline_id = v_pipeline.id and b.state = 'running';
  for v_batch_id in
    select b.id from rowmill.batch_processing_details as b where b.pipeline_id = v_pipeline.id and b.state = 'ended' order by b.id
  loop
    perform rowmill.settle_money(v_batch_id);
  end loop;
  update rowmill.batch_processing_details as b
  set state = 'harvested', owner = null, lease_until = null
  where b.pipeline_id = v_pipeline.id and b.state = 'ended';
  update rowmill.batch_processing_details as b
  set cancel_asked = true
  where b.pipeline_id = v_pipeline.id and b.state = 'preparing';
end;
$$;
