-- Functions that take results: initial values have the types of their variables. Workers need not stop.

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
  v_edited jsonb := '[]'::jsonb;
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

-- API: internal
create or replace function rowmill.write_answers(
  batch rowmill.batch_processing_details,
  chunk_ids bigint[],
  answers jsonb, -- [{"c": chunk, "n", "h": hash, "o0": value, …}]
  heals boolean, -- whether the pipeline has failures that a success takes away
  queue_position bigint -- where the queue stands, if the answers are to be remembered; else null
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines;
  v_old rowmill.pipelines;
  v_is_old boolean;
  v_refused integer := 0;
  v_counts jsonb := '{"enriched": 0, "stale": 0, "gone": 0, "failed": 0}'::jsonb;
begin
  -- alter_pipeline waits for this slice: no newer version comes to be while it is written.
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = batch.pipeline_id for key share;
  v_is_old := batch.pipeline_version < v_pipeline.version;

  if not exists (select from pg_class as c where c.oid = v_pipeline.source)
    or not exists (select from pg_class as c where c.oid = v_pipeline.target) then
    with taken as (
      delete from rowmill.chunk_rows as t
      using jsonb_to_recordset(write_answers.answers) as r(c bigint, n integer)
      where t.chunk_id = any (write_answers.chunk_ids) and t.chunk_id = r.c and t.n = r.n
      returning t.n
    )
    select v_counts || jsonb_build_object('gone', count(*)) into strict v_counts from taken;
    return v_counts;
  end if;

  if v_is_old and rowmill.structure_problem(v_pipeline.id, batch.pipeline_version) is not null then
    -- A column that the newer version does without was dropped: nobody will mend the older one.
    with taken as (
      delete from rowmill.chunk_rows as t
      using jsonb_to_recordset(write_answers.answers) as r(c bigint, n integer, h text)
      where t.chunk_id = any (write_answers.chunk_ids) and t.chunk_id = r.c and t.n = r.n and t.hash = r.h
      returning t.key
    ), queued as (
      insert into rowmill.pending_keys (pipeline_id, keys, row_count, only_missing)
      select v_pipeline.id, jsonb_agg(t.key), count(*), true from taken as t having count(*) > 0
    )
    select v_counts || jsonb_build_object('stale', count(*)) into strict v_counts from taken;
    return v_counts;
  end if;

  if v_pipeline.version > 1 then
    -- Locked before the rows of the table, which an answer of another version may be about to write, and all at once,
    -- since a slice may be written in halves. The entries that are missing come as what their absence means.
    insert into rowmill.row_versions as v (pipeline_id, key, version)
    select v_pipeline.id, h.key, 1
    from (
      select distinct on (md5(t.key::text)) t.key
      from (
        select t.key
        from rowmill.chunk_rows as t
        join jsonb_to_recordset(write_answers.answers) as r(c bigint, n integer, h text)
          on t.chunk_id = r.c and t.n = r.n and t.hash = r.h
        where t.chunk_id = any (write_answers.chunk_ids)
        order by md5(t.key::text)
        for update of t
      ) as t
      order by md5(t.key::text)
    ) as h
    on conflict (pipeline_id, md5(key::text)) do update set version = v.version where false;
  end if;
  if v_is_old then
    with refused as (
      delete from rowmill.chunk_rows as t
      using jsonb_to_recordset(write_answers.answers) as r(c bigint, n integer, h text), rowmill.row_versions as v
      where t.chunk_id = any (write_answers.chunk_ids) and t.chunk_id = r.c and t.n = r.n and t.hash = r.h
      and v.pipeline_id = v_pipeline.id and md5(v.key::text) = md5(t.key::text) and v.version > batch.pipeline_version
      returning t.n
    )
    select count(*) into strict v_refused from refused;
    -- What an older version fills, the newer may read: then its answer is an edit like any other.
    v_old := rowmill.definition_of(v_pipeline.id, batch.pipeline_version);
    if v_pipeline.target = v_pipeline.source and exists (
      select
      from jsonb_array_elements(v_old.outputs || v_old.provenance) as o
      join jsonb_array_elements(v_pipeline.inputs || v_pipeline.filter_columns) as i on i.value -> 'attnum' = o.value -> 'attnum'
    ) then
      perform set_config('rowmill.applying', '', true);
    end if;
  end if;

  v_counts := rowmill.write_slice(
    batch, write_answers.chunk_ids, rowmill.source_parts_of(v_pipeline.id, batch.pipeline_version), write_answers.answers,
    write_answers.heals, write_answers.queue_position, v_pipeline.version > 1
  );
  return v_counts || jsonb_build_object('stale', (v_counts ->> 'stale')::integer + v_refused);
end;
$$;

-- API: worker
create or replace function rowmill.apply_results(
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
  output_tokens bigint,
  billed_requests integer -- lines that told their usage
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
  v_answers jsonb := answers;
  v_failures jsonb := failures;
  v_counts jsonb := '{"enriched": 0, "stale": 0, "gone": 0, "failed": 0}'::jsonb;
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
  if v_batch.has_twins then
    v_answers := rowmill.with_twins(v_answers, v_chunk_ids);
    v_failures := rowmill.with_twins(v_failures, v_chunk_ids);
  end if;

  if jsonb_array_length(v_answers) > 0 then
    perform set_config('rowmill.applying', v_pipeline.id::text, true);
    v_counts := rowmill.write_answers(
      v_batch, v_chunk_ids, v_answers,
      exists (select from rowmill.failures as f where f.pipeline_id = v_pipeline.id),
      rowmill.position_to_remember(v_pipeline.id, v_chunk_ids)
    );
    -- Not as a "set" of the function, which only a superuser may give a parameter of this kind.
    perform set_config('rowmill.applying', '', true);
  end if;
  if jsonb_array_length(v_failures) > 0 then
    v_failed := rowmill.settle_failures(v_pipeline.id, v_batch.id, (
      select coalesce(jsonb_agg(f.value), '[]')
      from jsonb_array_elements(v_failures) as f(value)
      where (f.value ->> 'c')::bigint = any (v_chunk_ids)
    ));
  end if;
  v_duplicate := jsonb_array_length(v_answers) + jsonb_array_length(v_failures) - v_failed
    - (v_counts ->> 'enriched')::integer - (v_counts ->> 'stale')::integer - (v_counts ->> 'gone')::integer - (v_counts ->> 'failed')::integer;
  if v_duplicate > 0 then
    -- Ids of other batches, or of no place in the chunk, are strangers; the rest came before.
    select count(*) into strict v_unknown
    from jsonb_to_recordset(v_answers || v_failures) as r(c bigint, n integer)
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
    billed_requests = b.billed_requests + apply_results.billed_requests,
    problem = null,
    gone_since = null
  where b.id = v_batch.id;

  return v_counts || jsonb_build_object(
    'failed', v_failed + (v_counts ->> 'failed')::integer,
    'duplicate', v_duplicate + apply_results.repeated_lines,
    'unknown', v_unknown + apply_results.unknown_lines
  );
end;
$$;
