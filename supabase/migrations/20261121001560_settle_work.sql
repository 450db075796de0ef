-- What became of rows, by class; a batch that is judged; money that is settled. Workers must stop: an older one does
-- not know what the functions here want.

-- API: internal
create or replace function rowmill.settle_failures(
  pipeline_id bigint,
  batch_id bigint,
  -- [{"c": chunk, "n", "h": hash, "class", "code", "message", "retried", "counted", "noted", "delay_seconds"}]; the last two
  -- may be missing. "noted": false goes round again without a word: it says nothing about the row.
  failures jsonb
)
returns integer
language plpgsql
set search_path = ''
-- The hash of an input must be the one that read_chunk made.
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
#variable_conflict use_column
declare
  v_max_attempts integer;
  v_version integer;
  v_parts rowmill.source_parts;
  v_edited jsonb := '[]';
  v_by_class jsonb;
  v_settled integer;
begin
  select p.max_attempts into strict v_max_attempts from rowmill.pipelines as p where p.id = settle_failures.pipeline_id;

  -- A row that was edited meanwhile did not fail: its edit is queued, or answered already. It goes the way of a stale
  -- answer, and costs it no attempt. So does one that a newer version has answered meanwhile.
  select b.pipeline_version into v_version from rowmill.batch_processing_details as b where b.id = settle_failures.batch_id;
  if rowmill.structure_problem(settle_failures.pipeline_id, v_version) is null then
    v_parts := rowmill.source_parts_of(settle_failures.pipeline_id, v_version);
    execute format(
      $sql$
      select coalesce(jsonb_agg(jsonb_build_object('key', k.key, 'hash', k.hash)), '[]')
      from jsonb_to_recordset($1) as f(c bigint, n integer, h text)
      join rowmill.chunk_rows as k on k.chunk_id = f.c and k.n = f.n and k.hash = f.h and k.pipeline_id = $2
      join %1$s as s on %2$s
      where %3$s <> k.hash or exists (
        select from rowmill.row_versions as v where v.pipeline_id = $2 and md5(v.key::text) = md5(k.key::text) and v.version > $3
      )
      $sql$,
      v_parts.relation, v_parts.key_match, v_parts.hash
    )
    into strict v_edited
    using settle_failures.failures, settle_failures.pipeline_id, v_version;
  end if;

  with edited as (
    select e.key, e.hash from jsonb_to_recordset(v_edited) as e(key jsonb, hash text)
  ), taken as (
    delete from rowmill.chunk_rows as t
    using jsonb_to_recordset(settle_failures.failures)
      as f(c bigint, n integer, h text, class text, code text, message text, retried boolean, counted boolean, noted boolean, delay_seconds integer)
    where t.chunk_id = f.c and t.n = f.n and t.hash = f.h and t.pipeline_id = settle_failures.pipeline_id
    returning t.chunk_id, t.key, t.hash, f.class, f.code, left(f.message, 2000) as message, f.retried, f.counted,
      coalesce(f.noted, true) as noted, f.delay_seconds
  ), latest as (
    -- A row that was edited meanwhile may be in the batch twice; its latest input counts.
    select distinct on (t.key) t.*
    from taken as t
    where not exists (select from edited as e where e.key = t.key and e.hash = t.hash)
    order by t.key, t.chunk_id desc
  ), noted as (
    insert into rowmill.failures as f (pipeline_id, key, hash, error_class, code, message, attempts, truncations, is_final, batch_id)
    select
      settle_failures.pipeline_id, t.key, t.hash, t.class, t.code, t.message,
      t.counted::integer, (t.class = 'truncated')::integer,
      not t.retried or t.counted::integer >= v_max_attempts, settle_failures.batch_id
    from latest as t
    where t.noted
    order by md5(t.key::text) -- one order for all sessions: no deadlock
    on conflict (pipeline_id, md5(key::text)) do update
    set
      hash = excluded.hash,
      error_class = excluded.error_class,
      code = excluded.code,
      message = excluded.message,
      attempts = excluded.attempts + case when f.hash = excluded.hash then f.attempts else 0 end,
      truncations = excluded.truncations + case when f.hash = excluded.hash then f.truncations else 0 end,
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
        select t.key, case
          -- (least passes over nulls)
          when t.delay_seconds is not null then least(t.delay_seconds * interval '1 second', s.retry_after * 4)
          -- doubled for each attempt, an hour at most; at once where it was no attempt
          when t.counted then least(s.retry_after * power(2, n.attempts - 1), interval '1 hour')
          else '0'::interval
        end as delay
        from latest as t
        left join noted as n on n.key = t.key
        cross join rowmill.settings as s
        where n.is_final is not true
      ) as d
    ) as q
    group by q.delay, q.slice
  ), unfailed as (
    insert into rowmill.pending_keys (pipeline_id, keys, row_count, only_missing)
    select settle_failures.pipeline_id, jsonb_agg(e.key), count(*), true
    from (
      select d.key, (row_number() over () - 1) / 1000 as slice
      from (select distinct e.key from edited as e where e.key not in (select t.key from latest as t)) as d
    ) as e
    group by e.slice
  )
  select
    (select count(*) from taken),
    (select jsonb_object_agg(c.class, c.rows) from (select t.class, count(*) as rows from taken as t where t.noted group by t.class) as c)
  into strict v_settled, v_by_class;

  if v_by_class is not null and settle_failures.batch_id is not null then
    update rowmill.batch_processing_details as b
    set failed_by_class = (
      select jsonb_object_agg(s.class, s.rows)
      from (
        select e.key as class, sum(e.value::integer) as rows
        from (select * from jsonb_each_text(b.failed_by_class) union all select * from jsonb_each_text(v_by_class)) as e
        group by e.key
      ) as s
    )
    where b.id = settle_failures.batch_id;
  end if;
  if v_by_class ? 'quota_exhausted' then
    perform rowmill.stop_pipeline(settle_failures.pipeline_id,
      'quota_exhausted: the account has no money or quota left, and more tries would only fail.');
  end if;
  return v_settled;
end;
$$;
comment on function rowmill.settle_failures(bigint, bigint, jsonb) is
  'Rows in flight that failed: queued again where their class is retried and attempts are left, else named in row_failures. Counts an attempt where it was one. A row that was edited meanwhile is queued only if it has no answer at all. A row that is not in flight (any more) is passed over, so that a repetition changes nothing. quota_exhausted pauses the pipeline. Returns how many were settled.';
revoke all on function rowmill.settle_failures(bigint, bigint, jsonb) from public;

drop function rowmill.settle_rest(bigint, text, text, text, boolean, boolean, integer);

-- API: internal
create function rowmill.settle_rest(
  batch_id bigint, error_class text, code text, message text, retried boolean, counted boolean, noted boolean, delay_seconds integer
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
    'retried', settle_rest.retried, 'counted', settle_rest.counted, 'noted', settle_rest.noted, 'delay_seconds', settle_rest.delay_seconds
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
comment on function rowmill.settle_rest(bigint, text, text, text, boolean, boolean, boolean, integer) is 'Settles every row of a batch that has no outcome yet, and ends its chunks; returns how many rows.';
revoke all on function rowmill.settle_rest(bigint, text, text, text, boolean, boolean, boolean, integer) from public;

-- API: internal
create function rowmill.judge_batch(batch_id bigint)
returns void
language plpgsql
set search_path = ''
as $$
declare
  v_batch rowmill.batch_processing_details;
  v_settings rowmill.settings;
  v_failed integer;
  v_passed integer;
  v_new integer;
  v_in_row integer;
  v_rows_in_row integer;
  v_commonest text;
  v_message text;
begin
  select b.* into strict v_batch from rowmill.batch_processing_details as b where b.id = judge_batch.batch_id;
  select s.* into strict v_settings from rowmill.settings as s;
  -- What ran out of time, was cancelled or was sent back for the sake of others says nothing about the rows or the prompt.
  select coalesce(sum(e.value::integer), 0) into strict v_failed
  from jsonb_each_text(v_batch.failed_by_class) as e
  where e.key not in ('batch_expired', 'batch_cancelled');
  v_passed := v_batch.rows_enriched + v_batch.rows_stale + v_batch.rows_gone;
  if v_failed + v_passed = 0 or v_batch.provider_status = 'failed' and v_failed < v_batch.rows then
    return;
  end if;
  if v_passed::numeric / (v_failed + v_passed) >= v_settings.breaker_pass_ratio then
    update rowmill.pipelines as p
    set failed_in_row = 0, rows_failed_in_row = 0
    where p.id = v_batch.pipeline_id and p.failed_in_row > 0;
    return;
  end if;
  select count(*) into strict v_new
  from rowmill.failures as f
  where f.pipeline_id = v_batch.pipeline_id and f.batch_id = v_batch.id and f.attempts <= 1
  and f.error_class not in ('batch_expired', 'batch_cancelled');
  -- Retries travel by themselves: that they fail again is news only where everything did.
  update rowmill.pipelines as p
  set failed_in_row = p.failed_in_row + 1, rows_failed_in_row = p.rows_failed_in_row + v_new
  where p.id = v_batch.pipeline_id and (v_new > 0 or p.failed_in_row > 0)
  returning p.failed_in_row, p.rows_failed_in_row into v_in_row, v_rows_in_row;
  if not found or v_in_row < v_settings.breaker_batches or v_rows_in_row < v_settings.breaker_rows then
    return;
  end if;
  select e.key into strict v_commonest
  from jsonb_each_text(v_batch.failed_by_class) as e
  where e.key not in ('batch_expired', 'batch_cancelled')
  order by e.value::integer desc, e.key
  limit 1;
  select f.message into v_message
  from rowmill.failures as f
  where f.pipeline_id = v_batch.pipeline_id and f.batch_id = v_batch.id and f.error_class = v_commonest
  limit 1;
  perform rowmill.stop_pipeline(v_batch.pipeline_id, format('%s batches in a row failed, mostly with %s%s',
    v_in_row, v_commonest, coalesce(': ' || rtrim(left(v_message, 300), '.!') || '.', '.')));
end;
$$;
comment on function rowmill.judge_batch(bigint) is
  'The circuit breaker: counts batches in a row of which too many rows failed, and pauses the pipeline after settings.breaker_batches of them in which settings.breaker_rows different rows failed, with the commonest class as the reason.';
revoke all on function rowmill.judge_batch(bigint) from public;

drop function rowmill.reject_batch(bigint, text, text, text, text, boolean, boolean, integer, boolean);

-- API: worker
create function rowmill.reject_batch(
  batch_id bigint, worker text, error_class text, code text, message text, retried boolean, counted boolean, noted boolean,
  delay_seconds integer default null,
  may_have_left boolean default false -- whether its file may yet be at the provider
)
returns integer
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_rows integer;
begin
  perform from rowmill.batch_processing_details as b
  where b.id = reject_batch.batch_id and b.state = 'preparing' and b.owner = reject_batch.worker
  for update;
  if not found then
    return null;
  end if;
  v_rows := rowmill.settle_rest(reject_batch.batch_id, reject_batch.error_class, reject_batch.code, reject_batch.message,
    reject_batch.retried, reject_batch.counted, reject_batch.noted, reject_batch.delay_seconds);
  -- Before the money: begin_batch, too, has the pipeline first and its spending second.
  perform rowmill.judge_batch(reject_batch.batch_id);
  perform rowmill.settle_money(reject_batch.batch_id);
  update rowmill.batch_processing_details as b
  set
    rows_failed = v_rows,
    state = 'rejected', done_at = now(), owner = null, lease_until = null, problem = reject_batch.message,
    sweep_at = case when reject_batch.may_have_left then now() end
  where b.id = reject_batch.batch_id;
  return v_rows;
end;
$$;
comment on function rowmill.reject_batch(bigint, text, text, text, text, boolean, boolean, boolean, integer, boolean) is
  'preparing -> rejected: the provider refused the batch for good; each of its rows fails so. null: not under this lease.';
revoke all on function rowmill.reject_batch(bigint, text, text, text, text, boolean, boolean, boolean, integer, boolean) from public;

drop function rowmill.finish_harvest(bigint, text, text, text, text, boolean, boolean, integer);

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
  noted boolean,
  delay_seconds integer default null,
  found_no_room boolean default false -- the provider's queue for the model was full
)
returns integer
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_batch rowmill.batch_processing_details;
  v_rest integer;
begin
  select b.* into v_batch
  from rowmill.batch_processing_details as b
  where b.id = finish_harvest.batch_id and b.state = 'ended' and b.owner = finish_harvest.worker
  for update;
  if not found then
    return null;
  end if;
  -- The files are deleted next: results that a crash took back could not be read again.
  perform rowmill.commit_durably();
  v_rest := rowmill.settle_rest(finish_harvest.batch_id, finish_harvest.error_class, finish_harvest.code, finish_harvest.message,
    finish_harvest.retried, finish_harvest.counted, finish_harvest.noted, finish_harvest.delay_seconds);
  -- begin_batch, too, has the pipeline first and its spending second; abandon_batch has the model last.
  if not finish_harvest.found_no_room then
    perform rowmill.judge_batch(finish_harvest.batch_id);
  end if;
  perform rowmill.settle_money(finish_harvest.batch_id);
  update rowmill.batch_processing_details as b
  set state = 'harvested', rows_failed = b.rows_failed + v_rest
  where b.id = finish_harvest.batch_id;
  if finish_harvest.found_no_room then
    perform rowmill.note_full_queue(v_batch.model, v_batch.reserved_tokens);
  elsif v_batch.provider_status = 'completed' then
    perform rowmill.note_room_in_queue(v_batch.model, v_batch.reserved_tokens);
  end if;
  return v_rest;
end;
$$;
comment on function rowmill.finish_harvest(bigint, text, text, text, text, boolean, boolean, boolean, integer, boolean) is
  'ended -> harvested: both files are applied to their ends, the money is settled, the batch is judged; returns how many rows the files did not mention. null: not under this lease.';
revoke all on function rowmill.finish_harvest(bigint, text, text, text, text, boolean, boolean, boolean, integer, boolean) from public;
