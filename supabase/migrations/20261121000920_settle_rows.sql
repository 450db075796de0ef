-- What becomes of rows that got no answer, and the end of a batch.
-- Every step is guarded by the state that it leaves and by the owner; a step that finds neither changes nothing
-- and says so. Workers need not stop.

-- API: internal
create function rowmill.settle_failures(
  pipeline_id bigint,
  batch_id bigint,
  failures jsonb -- [{"c": chunk, "n", "h": hash, "class", "code", "message", "retried", "counted", "delay_seconds"}]; delay_seconds may be missing
)
returns integer
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_max_attempts integer;
  v_settled integer;
begin
  select p.max_attempts into strict v_max_attempts from rowmill.pipelines as p where p.id = settle_failures.pipeline_id;

  with taken as (
    delete from rowmill.chunk_rows as t
    using jsonb_to_recordset(settle_failures.failures)
      as f(c bigint, n integer, h text, class text, code text, message text, retried boolean, counted boolean, delay_seconds integer)
    where t.chunk_id = f.c and t.n = f.n and t.hash = f.h and t.pipeline_id = settle_failures.pipeline_id
    returning t.chunk_id, t.key, t.hash, f.class, f.code, left(f.message, 2000) as message, f.retried, f.counted, f.delay_seconds
  ), latest as (
    -- A row that was edited meanwhile may be in the batch twice; its latest input counts.
    select distinct on (t.key) t.* from taken as t order by t.key, t.chunk_id desc
  ), noted as (
    insert into rowmill.failures as f (pipeline_id, key, hash, error_class, code, message, attempts, is_final, batch_id)
    select
      settle_failures.pipeline_id, t.key, t.hash, t.class, t.code, t.message,
      t.counted::integer, not t.retried or t.counted::integer >= v_max_attempts, settle_failures.batch_id
    from latest as t
    on conflict (pipeline_id, md5(key::text)) do update
    set
      hash = excluded.hash,
      error_class = excluded.error_class,
      code = excluded.code,
      message = excluded.message,
      attempts = excluded.attempts + case when f.hash = excluded.hash then f.attempts else 0 end,
      is_final = excluded.is_final
        or excluded.attempts + case when f.hash = excluded.hash then f.attempts else 0 end >= v_max_attempts,
      batch_id = excluded.batch_id,
      last_at = now()
    returning f.key, f.is_final, f.attempts
  ), again as (
    insert into rowmill.pending_keys (pipeline_id, keys, row_count, queued_at)
    select
      settle_failures.pipeline_id, jsonb_agg(q.key), count(*),
      now() + q.delay
    from (
      select d.key, d.delay, (row_number() over (partition by d.delay) - 1) / 1000 as slice
      from (
        select n.key, coalesce(
          t.delay_seconds * interval '1 second',
          -- a quarter of a minute, doubled for each attempt, an hour at most; at once where it was no attempt
          case when t.counted then least(interval '15 seconds' * power(2, n.attempts - 1), interval '1 hour') else '0'::interval end
        ) as delay
        from noted as n
        join latest as t on t.key = n.key
        where not n.is_final
      ) as d
    ) as q
    group by q.delay, q.slice
  )
  select count(*) into strict v_settled from taken;
  return v_settled;
end;
$$;
comment on function rowmill.settle_failures(bigint, bigint, jsonb) is
  'Rows in flight that failed: queued again where their class is retried and attempts are left, else named in row_failures. Counts an attempt where it was one. A row that is not in flight (any more) is passed over, so that a repetition changes nothing. Returns how many were settled.';
revoke all on function rowmill.settle_failures(bigint, bigint, jsonb) from public;

-- API: internal
create function rowmill.settle_rest(
  batch_id bigint, error_class text, code text, message text, retried boolean, counted boolean, delay_seconds integer
)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  v_rest jsonb;
  v_settled integer := 0;
begin
  select jsonb_agg(jsonb_build_object(
    'c', r.chunk_id, 'n', r.n, 'h', r.hash,
    'class', settle_rest.error_class, 'code', settle_rest.code, 'message', settle_rest.message,
    'retried', settle_rest.retried, 'counted', settle_rest.counted, 'delay_seconds', settle_rest.delay_seconds
  ))
  into v_rest
  from rowmill.chunks as c
  join rowmill.chunk_rows as r on r.chunk_id = c.id
  where c.batch_id = settle_rest.batch_id;
  if v_rest is not null then
    select rowmill.settle_failures(b.pipeline_id, b.id, v_rest) into strict v_settled
    from rowmill.batch_processing_details as b
    where b.id = settle_rest.batch_id;
  end if;
  update rowmill.chunks as c
  set state = 'done', keys = null, ended_at = now()
  where c.batch_id = settle_rest.batch_id and c.state = 'batched';
  return v_settled;
end;
$$;
comment on function rowmill.settle_rest(bigint, text, text, text, boolean, boolean, integer) is 'Settles every row of a batch that has no outcome yet, and ends its chunks; returns how many rows.';
revoke all on function rowmill.settle_rest(bigint, text, text, text, boolean, boolean, integer) from public;

-- API: worker
create function rowmill.refuse_rows(chunk_id bigint, worker text, failures jsonb)
returns integer
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_pipeline_id bigint;
begin
  select c.pipeline_id into v_pipeline_id
  from rowmill.chunks as c
  where c.id = refuse_rows.chunk_id and c.state = 'accepted' and c.owner = refuse_rows.worker
  for update;
  if not found then
    return 0;
  end if;
  return rowmill.settle_failures(v_pipeline_id, null, (
    select coalesce(jsonb_agg(f.value || jsonb_build_object('c', refuse_rows.chunk_id)), '[]')
    from jsonb_array_elements(refuse_rows.failures) as f(value)
  ));
end;
$$;
comment on function rowmill.refuse_rows(bigint, text, jsonb) is 'Rows of an accepted chunk, held before, that cannot be sent: [{"n","h","class","code","message","retried","counted"}]. Returns how many.';
revoke all on function rowmill.refuse_rows(bigint, text, jsonb) from public;

-- API: worker
create function rowmill.reject_batch(
  batch_id bigint, worker text, error_class text, code text, message text, retried boolean, counted boolean,
  delay_seconds integer default null
)
returns integer
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_rows integer;
begin
  update rowmill.batch_processing_details as b
  set state = 'rejected', done_at = now(), owner = null, lease_until = null, problem = reject_batch.message
  where b.id = reject_batch.batch_id and b.state = 'preparing' and b.owner = reject_batch.worker;
  if not found then
    return null;
  end if;
  v_rows := rowmill.settle_rest(reject_batch.batch_id, reject_batch.error_class, reject_batch.code, reject_batch.message,
    reject_batch.retried, reject_batch.counted, reject_batch.delay_seconds);
  update rowmill.batch_processing_details as b set rows_failed = v_rows where b.id = reject_batch.batch_id;
  return v_rows;
end;
$$;
comment on function rowmill.reject_batch(bigint, text, text, text, text, boolean, boolean, integer) is
  'preparing -> rejected: the provider refused the batch for good; each of its rows fails so. null: not this worker''s.';
revoke all on function rowmill.reject_batch(bigint, text, text, text, text, boolean, boolean, integer) from public;

-- API: worker
create function rowmill.finish_harvest(
  batch_id bigint,
  worker text,
  -- what a row is that neither file mentions
  error_class text,
  code text,
  message text,
  retried boolean,
  counted boolean,
  delay_seconds integer default null
)
returns integer
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_rest integer;
begin
  perform from rowmill.batch_processing_details as b
  where b.id = finish_harvest.batch_id and b.state = 'ended' and b.owner = finish_harvest.worker
  for update;
  if not found then
    return null;
  end if;
  v_rest := rowmill.settle_rest(finish_harvest.batch_id, finish_harvest.error_class, finish_harvest.code, finish_harvest.message,
    finish_harvest.retried, finish_harvest.counted, finish_harvest.delay_seconds);
  update rowmill.batch_processing_details as b
  set state = 'harvested', rows_failed = b.rows_failed + v_rest
  where b.id = finish_harvest.batch_id;
  return v_rest;
end;
$$;
comment on function rowmill.finish_harvest(bigint, text, text, text, text, boolean, boolean, integer) is
  'ended -> harvested: both files are applied to their ends; returns how many rows they did not mention. null: not this worker''s.';
revoke all on function rowmill.finish_harvest(bigint, text, text, text, text, boolean, boolean, integer) from public;

-- API: worker
create function rowmill.finish_batch(batch_id bigint, worker text)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
begin
  update rowmill.batch_processing_details as b
  set state = 'done', done_at = now(), owner = null, lease_until = null, problem = null
  where b.id = finish_batch.batch_id and b.state = 'harvested' and b.owner = finish_batch.worker;
  return found;
end;
$$;
comment on function rowmill.finish_batch(bigint, text) is 'harvested -> done: its files at the provider are deleted, or kept on purpose.';
revoke all on function rowmill.finish_batch(bigint, text) from public;
