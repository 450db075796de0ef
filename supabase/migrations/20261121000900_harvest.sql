-- Polling, applying answers, and what becomes of rows that got none. Workers need not stop.

-- API: worker
create function rowmill.claim_due_polls(max_batches integer)
returns table (batch_id bigint, provider_batch_id text, cancel_asked boolean)
language sql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
  with found as (
    select b.id
    from rowmill.batch_processing_details as b
    where b.state = 'running' and b.poll_at <= now()
    order by b.poll_at
    limit claim_due_polls.max_batches
    for update skip locked
  )
  update rowmill.batch_processing_details as b
  -- a tenth either way, so that batches of one import are not all asked for at once
  set poll_at = now() + s.poll_every * (0.9 + random() * 0.2)
  from found, rowmill.settings as s
  where b.id = found.id
  returning b.id, b.provider_batch_id, b.cancel_asked;
$$;
comment on function rowmill.claim_due_polls(integer) is 'Running batches that are due for a look; each is due again after settings.poll_every.';
revoke all on function rowmill.claim_due_polls(integer) from public;

-- API: worker
create function rowmill.record_poll(
  batch_id bigint,
  provider_status text,
  is_terminal boolean,
  output_file_id text,
  error_file_id text,
  requests_completed integer,
  requests_failed integer,
  provider_errors jsonb
)
returns text
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_state text;
begin
  update rowmill.batch_processing_details as b
  set
    provider_status = record_poll.provider_status,
    output_file_id = record_poll.output_file_id,
    error_file_id = record_poll.error_file_id,
    requests_completed = record_poll.requests_completed,
    requests_failed = record_poll.requests_failed,
    provider_errors = record_poll.provider_errors,
    polled_at = now(),
    problem = null,
    state = case
      when not record_poll.is_terminal then b.state
      when p.state = 'dropped' then 'harvested' -- nobody waits for the answers; only files are left to delete
      else 'ended'
    end,
    ended_at = case when record_poll.is_terminal then now() end
  from rowmill.pipelines as p
  where b.id = record_poll.batch_id and b.state = 'running' and p.id = b.pipeline_id
  returning b.state into v_state;
  return v_state;
end;
$$;
comment on function rowmill.record_poll(bigint, text, boolean, text, text, integer, integer, jsonb) is
  'What the provider said of a running batch; in a terminal status it moves on to ended. Returns the new state, null where another worker moved it first.';
revoke all on function rowmill.record_poll(bigint, text, boolean, text, text, integer, integer, jsonb) from public;

-- API: worker
create function rowmill.note_poll_problem(batch_id bigint, problem text)
returns void
language sql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
  update rowmill.batch_processing_details as b
  set problem = note_poll_problem.problem
  where b.id = note_poll_problem.batch_id and b.state = 'running';
$$;
comment on function rowmill.note_poll_problem(bigint, text) is 'Why a look at a running batch failed; it stays running and is looked at again.';
revoke all on function rowmill.note_poll_problem(bigint, text) from public;

-- API: worker
create function rowmill.claim_ended_batches(worker text, max_batches integer)
returns table (
  batch_id bigint, state text, pipeline_id bigint, provider_status text, provider_errors jsonb,
  input_file_id text, output_file_id text, error_file_id text, output_position bigint, error_position bigint, keep_files boolean
)
language sql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
  with found as (
    select b.id
    from rowmill.batch_processing_details as b
    join rowmill.pipelines as p on p.id = b.pipeline_id
    where b.state in ('ended', 'harvested')
    and (b.lease_until is null or b.lease_until < now())
    -- Answers for a column that is gone wait for the operator; where the whole table is gone, nobody waits.
    and (
      b.state = 'harvested'
      or rowmill.structure_problem(p.id) is null
      or not exists (select from pg_class as c where c.oid = p.source)
    )
    order by b.ended_at
    limit claim_ended_batches.max_batches
    for update of b skip locked
  )
  update rowmill.batch_processing_details as b
  set owner = claim_ended_batches.worker, lease_until = now() + s.lease
  from found, rowmill.settings as s
  where b.id = found.id
  returning b.id, b.state, b.pipeline_id, b.provider_status, b.provider_errors,
    b.input_file_id, b.output_file_id, b.error_file_id, b.output_position, b.error_position, s.keep_files;
$$;
comment on function rowmill.claim_ended_batches(text, integer) is 'Takes, under a lease, batches whose results are to be read (ended) or whose files are to be deleted (harvested).';
revoke all on function rowmill.claim_ended_batches(text, integer) from public;

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
create function rowmill.write_answers(
  pipeline_id bigint,
  chunk_ids bigint[],
  parts rowmill.source_parts,
  answers jsonb, -- [{"c": chunk, "n", "h": hash, "o0": value, …}]
  heals boolean -- whether the pipeline has failures that a success takes away
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  v_taken integer;
  v_written integer;
  v_unwritten jsonb;
  v_kept boolean;
  v_stale integer := 0;
  v_half integer;
  v_left jsonb;
  v_right jsonb;
  v_state text;
  v_message text;
begin
  begin
    -- The table's own triggers and checks run inside this statement, and may name things as any session of this
    -- role does. All that is ours in it is qualified: whoever may create functions there must not become us.
    set local search_path to default;
    execute format(
      $sql$
      with taken as (
        delete from rowmill.chunk_rows as t
        using pg_catalog.jsonb_to_recordset($1) as r(c bigint, n integer, h text, %1$s)
        where t.chunk_id = any ($2) and t.chunk_id = r.c and t.n = r.n and t.hash = r.h
        returning t.key, t.hash, r.*
      ), written as (
        update %2$s as s
        set %3$s
        from taken as k
        where %4$s and %5$s = k.hash
        returning k.key
      )%6$s
      select
        (select pg_catalog.count(*) from taken),
        (select pg_catalog.count(*) from written),
        (select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('key', t.key, 'hash', t.hash)) from taken as t where (select pg_catalog.count(*) from taken) <> (select pg_catalog.count(*) from written) and t.key not in (select w.key from written as w))
      $sql$,
      parts.value_columns, parts.relation, parts.set_list, parts.key_match, parts.hash,
      case when write_answers.heals then
        format(', healed as (delete from rowmill.failures as f using written as w where f.pipeline_id = %s and pg_catalog.md5(f.key::text) = pg_catalog.md5(w.key::text))', write_answers.pipeline_id)
      end
    )
    into strict v_taken, v_written, v_unwritten
    using write_answers.answers, write_answers.chunk_ids;
    set local search_path = '';

    if v_unwritten is not null then
      execute format(
        'select exists (select from jsonb_to_recordset($1) as k(key jsonb, hash text) join %1$s as s on %2$s where %3$s = k.hash)',
        parts.relation, parts.key_match, parts.hash
      )
      into strict v_kept
      using v_unwritten;
      if v_kept then
        -- Taken for stale, it would be asked for, and paid for, for ever.
        raise exception 'a trigger of the table kept the row as it was';
      end if;
    end if;
  exception
    when others then
      get stacked diagnostics v_state = returned_sqlstate, v_message = message_text;
      -- No row's fault, and none may lose its answer to it: connection, transaction state, deadlocks, rights and
      -- missing objects, resources, locks, an operator, the system. The rest is the row's own: data, constraints,
      -- and whatever the user's triggers raise, under codes of their own as well.
      if left(v_state, 2) in ('08', '0A', '25', '40', '42', '53', '54', '55', '57', '58', 'XX') then
        raise;
      end if;
      if jsonb_array_length(write_answers.answers) = 1 then
        return jsonb_build_object('enriched', 0, 'stale', 0, 'gone', 0, 'failed', rowmill.settle_failures(
          write_answers.pipeline_id,
          (select c.batch_id from rowmill.chunks as c where c.id = write_answers.chunk_ids[1]),
          jsonb_build_array(jsonb_build_object(
            'c', write_answers.answers -> 0 -> 'c', 'n', write_answers.answers -> 0 -> 'n', 'h', write_answers.answers -> 0 -> 'h',
            'class', 'type_mismatch', 'code', v_state, 'message', 'Postgres refused the answer: ' || v_message,
            'retried', true, 'counted', true
          ))
        ));
      end if;
      -- Halves, until the stranger stands alone and its neighbours are written.
      v_half := jsonb_array_length(write_answers.answers) / 2;
      v_left := rowmill.write_answers(write_answers.pipeline_id, write_answers.chunk_ids, write_answers.parts,
        jsonb_path_query_array(write_answers.answers, '$[0 to $last]', jsonb_build_object('last', v_half - 1)), write_answers.heals);
      v_right := rowmill.write_answers(write_answers.pipeline_id, write_answers.chunk_ids, write_answers.parts,
        jsonb_path_query_array(write_answers.answers, '$[$first to last]', jsonb_build_object('first', v_half)), write_answers.heals);
      return (
        select jsonb_object_agg(k.key, (v_left ->> k.key)::integer + (v_right ->> k.key)::integer)
        from jsonb_object_keys(v_left) as k(key)
      );
  end;

  if v_unwritten is not null then
    -- Edited meanwhile (its trigger queued it) or deleted. One that was never enriched is queued once more,
    -- in case its trigger could not; the queue sends it only if its outputs are empty still.
    execute format(
      $sql$
      with stale as (
        select k.key from jsonb_to_recordset($1) as k(key jsonb) join %1$s as s on %2$s
      ), queued as (
        insert into rowmill.pending_keys (pipeline_id, keys, row_count, only_missing)
        select $2, jsonb_agg(stale.key), count(*), true from stale having count(*) > 0
      )
      select count(*) from stale
      $sql$,
      parts.relation, parts.key_match
    )
    into strict v_stale
    using v_unwritten, write_answers.pipeline_id;
  end if;
  return jsonb_build_object('enriched', v_written, 'stale', v_stale, 'gone', v_taken - v_written - v_stale, 'failed', 0);
end;
$$;
comment on function rowmill.write_answers(bigint, bigint[], rowmill.source_parts, jsonb, boolean) is
  'Writes answers over the very inputs that they were computed from, and settles their rows in flight. A value that Postgres refuses fails its row alone. Returns {"enriched","stale","gone","failed"}.';
revoke all on function rowmill.write_answers(bigint, bigint[], rowmill.source_parts, jsonb, boolean) from public;

-- API: worker
create function rowmill.apply_results(
  batch_id bigint,
  worker text,
  file text, -- 'output' or 'error'
  from_position bigint, -- bytes of the file that were applied before this slice
  to_position bigint, -- and after it
  answers jsonb, -- [{"c": chunk, "n", "h": hash, "o0": value, …}], o<i> for the i-th output; no row twice
  failures jsonb, -- [{"c", "n", "h", "class", "code", "message", "retried", "counted"}]; no row twice
  unknown_lines integer, -- lines whose custom_id is not of this batch
  repeated_lines integer, -- lines of a row that this slice holds already
  input_tokens bigint,
  cached_tokens bigint,
  output_tokens bigint
)
returns jsonb
language plpgsql
security definer -- the worker has no rights on the source table
set search_path = ''
-- Shorter than deadlock_timeout (1 s): where a slice and a user's statement wait for each other, the slice gives
-- way before Postgres looks for a victim, and is applied later.
set lock_timeout = '500ms'
-- The hash of an input must be the one that read_chunk made.
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
  v_batch rowmill.batch_processing_details;
  v_pipeline rowmill.pipelines;
  v_chunk_ids bigint[];
  v_counts jsonb := '{"enriched": 0, "stale": 0, "gone": 0, "failed": 0}';
  v_failed integer := 0;
  v_duplicate integer;
  v_unknown integer := 0;
begin
  select b.* into v_batch
  from rowmill.batch_processing_details as b
  where b.id = apply_results.batch_id and b.state = 'ended' and b.owner = apply_results.worker
  and case apply_results.file when 'output' then b.output_position when 'error' then b.error_position end = apply_results.from_position
  for update;
  if not found then
    return null;
  end if;
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = v_batch.pipeline_id;
  select array_agg(c.id) into v_chunk_ids from rowmill.chunks as c where c.batch_id = v_batch.id;

  if jsonb_array_length(apply_results.answers) > 0 then
    if exists (select from pg_class as c where c.oid = v_pipeline.source) then
      perform set_config('rowmill.applying', v_pipeline.id::text, true);
      v_counts := rowmill.write_answers(
        v_pipeline.id, v_chunk_ids, rowmill.source_parts_of(v_pipeline.id), apply_results.answers,
        exists (select from rowmill.failures as f where f.pipeline_id = v_pipeline.id)
      );
      -- Not as a "set" of the function, which only a superuser may give a parameter of this kind.
      perform set_config('rowmill.applying', '', true);
    else
      with taken as (
        delete from rowmill.chunk_rows as t
        using jsonb_to_recordset(apply_results.answers) as r(c bigint, n integer)
        where t.chunk_id = any (v_chunk_ids) and t.chunk_id = r.c and t.n = r.n
        returning t.n
      )
      select v_counts || jsonb_build_object('gone', count(*)) into strict v_counts from taken;
    end if;
  end if;
  if jsonb_array_length(apply_results.failures) > 0 then
    v_failed := rowmill.settle_failures(v_pipeline.id, v_batch.id, (
      select coalesce(jsonb_agg(f.value), '[]')
      from jsonb_array_elements(apply_results.failures) as f(value)
      where (f.value ->> 'c')::bigint = any (v_chunk_ids)
    ));
  end if;
  v_duplicate := jsonb_array_length(apply_results.answers) + jsonb_array_length(apply_results.failures) - v_failed
    - (v_counts ->> 'enriched')::integer - (v_counts ->> 'stale')::integer - (v_counts ->> 'gone')::integer - (v_counts ->> 'failed')::integer;
  if v_duplicate > 0 then
    -- Ids of other batches, or of no place in the chunk, are strangers; the rest came before.
    select count(*) into strict v_unknown
    from jsonb_to_recordset(apply_results.answers || apply_results.failures) as r(c bigint, n integer)
    where not exists (
      select from rowmill.chunks as c where c.id = r.c and c.batch_id = v_batch.id and r.n >= 0 and r.n < c.row_count
    );
    v_duplicate := v_duplicate - v_unknown;
  end if;

  update rowmill.batch_processing_details as b
  set
    output_position = case apply_results.file when 'output' then apply_results.to_position else b.output_position end,
    error_position = case apply_results.file when 'error' then apply_results.to_position else b.error_position end,
    rows_enriched = b.rows_enriched + (v_counts ->> 'enriched')::integer,
    rows_stale = b.rows_stale + (v_counts ->> 'stale')::integer,
    rows_gone = b.rows_gone + (v_counts ->> 'gone')::integer,
    rows_failed = b.rows_failed + v_failed + (v_counts ->> 'failed')::integer,
    lines_duplicate = b.lines_duplicate + v_duplicate + apply_results.repeated_lines,
    lines_unknown = b.lines_unknown + v_unknown + apply_results.unknown_lines,
    input_tokens = b.input_tokens + apply_results.input_tokens,
    cached_tokens = b.cached_tokens + apply_results.cached_tokens,
    output_tokens = b.output_tokens + apply_results.output_tokens,
    problem = null
  where b.id = v_batch.id;

  return v_counts || jsonb_build_object(
    'failed', v_failed + (v_counts ->> 'failed')::integer,
    'duplicate', v_duplicate + apply_results.repeated_lines,
    'unknown', v_unknown + apply_results.unknown_lines
  );
end;
$$;
comment on function rowmill.apply_results(bigint, text, text, bigint, bigint, jsonb, jsonb, integer, integer, bigint, bigint, bigint) is
  'One slice of a result file: answers, failures, tokens and the position reached, in one transaction. null, and nothing changed, where the batch is not this worker''s or the slice was applied before. Raises what is no row''s fault; the slice can then be tried again.';
revoke all on function rowmill.apply_results(bigint, text, text, bigint, bigint, jsonb, jsonb, integer, integer, bigint, bigint, bigint) from public;

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
create function rowmill.note_pipeline_problem(pipeline_id bigint, problem text)
returns void
language sql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
  update rowmill.pipelines as p
  set
    problem = note_pipeline_problem.problem,
    problem_at = case when note_pipeline_problem.problem is not null then now() end,
    problem_by = case when note_pipeline_problem.problem is not null then 'worker' end
  where p.id = note_pipeline_problem.pipeline_id
  and p.problem is distinct from note_pipeline_problem.problem
  and (note_pipeline_problem.problem is not null or p.problem_by = 'worker');
$$;
comment on function rowmill.note_pipeline_problem(bigint, text) is 'What a worker found wrong, for pipeline_status; null, when it works again, clears what a worker found.';
revoke all on function rowmill.note_pipeline_problem(bigint, text) from public;
