-- Answers are remembered while something may repeat them: see answered_rows. Workers need not stop.

drop function rowmill.write_answers(bigint, bigint[], rowmill.source_parts, jsonb, boolean);

-- API: internal
create function rowmill.write_answers(
  pipeline_id bigint,
  chunk_ids bigint[],
  parts rowmill.source_parts,
  answers jsonb, -- [{"c": chunk, "n", "h": hash, "o0": value, …}]
  heals boolean, -- whether the pipeline has failures that a success takes away
  queue_position bigint -- where the queue stands, if the answers are to be remembered; else null
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
        returning k.key, k.hash
      )%6$s%7$s
      select
        (select pg_catalog.count(*) from taken),
        (select pg_catalog.count(*) from written),
        (select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('key', t.key, 'hash', t.hash)) from taken as t where (select pg_catalog.count(*) from taken) <> (select pg_catalog.count(*) from written) and t.key not in (select w.key from written as w))
      $sql$,
      parts.value_columns, parts.relation, parts.set_list, parts.key_match, parts.hash,
      case when write_answers.heals then
        format(', ill as (select f.key from rowmill.failures as f join written as w on pg_catalog.md5(f.key::text) = pg_catalog.md5(w.key::text) where f.pipeline_id = %1$s order by pg_catalog.md5(f.key::text) for update of f), healed as (delete from rowmill.failures as f using ill where f.pipeline_id = %1$s and pg_catalog.md5(f.key::text) = pg_catalog.md5(ill.key::text))', write_answers.pipeline_id)
      end,
      case when write_answers.queue_position is not null then
        format(', remembered as (insert into rowmill.answered_rows (pipeline_id, key, hash, queue_position) select %s, w.key, w.hash, %s from written as w)', write_answers.pipeline_id, write_answers.queue_position)
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
        jsonb_path_query_array(write_answers.answers, '$[0 to $last]', jsonb_build_object('last', v_half - 1)), write_answers.heals, write_answers.queue_position);
      v_right := rowmill.write_answers(write_answers.pipeline_id, write_answers.chunk_ids, write_answers.parts,
        jsonb_path_query_array(write_answers.answers, '$[$first to last]', jsonb_build_object('first', v_half)), write_answers.heals, write_answers.queue_position);
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
comment on function rowmill.write_answers(bigint, bigint[], rowmill.source_parts, jsonb, boolean, bigint) is
  'Writes answers over the very inputs that they were computed from, and settles their rows in flight. A value that Postgres refuses fails its row alone. Returns {"enriched","stale","gone","failed"}.';
revoke all on function rowmill.write_answers(bigint, bigint[], rowmill.source_parts, jsonb, boolean, bigint) from public;

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
        exists (select from rowmill.failures as f where f.pipeline_id = v_pipeline.id),
        rowmill.position_to_remember(v_pipeline.id, v_chunk_ids)
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
