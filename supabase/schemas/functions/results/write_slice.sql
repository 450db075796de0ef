-- API: internal
create or replace function rowmill.write_slice(
  batch rowmill.batch_processing_details,
  chunk_ids bigint[],
  parts rowmill.source_parts,
  answers jsonb, -- [{"c": chunk, "n", "h": hash, "o0": value, …}]
  heals boolean, -- whether the pipeline has failures that a success takes away
  queue_position bigint, -- where the queue stands, if the answers are to be remembered; else null
  notes_version boolean -- whether row_versions, locked, is kept
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_written_sql text;
  v_taken integer;
  v_written integer;
  v_put integer;
  v_unwritten jsonb;
  v_kept boolean;
  v_stale integer := 0;
  v_half integer;
  v_left jsonb;
  v_right jsonb;
  v_state text;
  v_message text;
begin
  if parts.target is null then
    v_written_sql := format(
      $sql$written as (
        update %1$s as s
        set %2$s
        from taken as k
        where %3$s and %4$s = k.hash
        returning k.key, k.hash
      )$sql$,
      parts.relation, parts.set_list, parts.key_match, parts.hash
    );
  else
    -- The source's rows are locked, in one order for all sessions: an edit on its way is waited for and looked at.
    v_written_sql := format(
      $sql$written as (
        select k.*, %5$s
        from taken as k
        join %1$s as s on %2$s
        where %3$s = k.hash
        order by pg_catalog.md5(k.key::text)
        for share of s
      ), put as (
        insert into %4$s as f (%6$s)
        select %7$s from written as w
        on conflict (%8$s) do update set %9$s
        returning 1
      )$sql$,
      parts.relation, parts.key_match, parts.hash, parts.target, parts.key_columns,
      parts.target_columns, parts.target_values, parts.target_keys, parts.excluded_list
    );
  end if;

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
      ), %2$s%3$s%4$s%5$s
      select
        (select pg_catalog.count(*) from taken),
        (select pg_catalog.count(*) from written),
        %6$s,
        (select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('key', t.key, 'hash', t.hash)) from taken as t where (select pg_catalog.count(*) from taken) <> (select pg_catalog.count(*) from written) and t.key not in (select w.key from written as w))
      $sql$,
      parts.value_columns, v_written_sql,
      case when write_slice.heals then
        format(', ill as (select f.key from rowmill.failures as f join written as w on pg_catalog.md5(f.key::text) = pg_catalog.md5(w.key::text) where f.pipeline_id = %1$s order by pg_catalog.md5(f.key::text) for update of f), healed as (delete from rowmill.failures as f using ill where f.pipeline_id = %1$s and pg_catalog.md5(f.key::text) = pg_catalog.md5(ill.key::text))', batch.pipeline_id)
      end,
      case when write_slice.queue_position is not null then
        format(', remembered as (insert into rowmill.answered_rows (pipeline_id, key, hash, queue_position) select %s, w.key, w.hash, %s from written as w)', batch.pipeline_id, write_slice.queue_position)
      end,
      case when write_slice.notes_version then
        format(', versioned as (update rowmill.row_versions as v set version = $6 from written as w where v.pipeline_id = %s and pg_catalog.md5(v.key::text) = pg_catalog.md5(w.key::text) and v.version < $6)', batch.pipeline_id)
      end,
      case when parts.target is null then 'null::integer' else '(select pg_catalog.count(*) from put)' end
    )
    into strict v_taken, v_written, v_put, v_unwritten
    using write_slice.answers, write_slice.chunk_ids, batch.id, batch.model, batch.ended_at, batch.pipeline_version;
    set local search_path = '';

    if parts.target is not null then
      v_kept := v_put <> v_written;
    elsif v_unwritten is not null then
      execute format(
        'select exists (select from jsonb_to_recordset($1) as k(key jsonb, hash text) join %1$s as s on %2$s where %3$s = k.hash)',
        parts.relation, parts.key_match, parts.hash
      )
      into strict v_kept
      using v_unwritten;
    end if;
    if v_kept then
      -- Taken for stale, it would be asked for, and paid for, for ever.
      raise exception 'a trigger of the table kept the row as it was';
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
      if jsonb_array_length(write_slice.answers) = 1 then
        return jsonb_build_object('enriched', 0, 'stale', 0, 'gone', 0, 'failed', rowmill.settle_failures(
          batch.pipeline_id,
          batch.id,
          jsonb_build_array(jsonb_build_object(
            'c', write_slice.answers -> 0 -> 'c', 'n', write_slice.answers -> 0 -> 'n', 'h', write_slice.answers -> 0 -> 'h',
            'class', 'type_mismatch', 'code', v_state, 'message', 'Postgres refused the answer: ' || v_message,
            'retried', true, 'counted', true
          ))
        ));
      end if;
      -- Halves, until the stranger stands alone and its neighbours are written.
      v_half := jsonb_array_length(write_slice.answers) / 2;
      v_left := rowmill.write_slice(batch, write_slice.chunk_ids, parts,
        jsonb_path_query_array(write_slice.answers, '$[0 to $last]', jsonb_build_object('last', v_half - 1)),
        write_slice.heals, write_slice.queue_position, write_slice.notes_version);
      v_right := rowmill.write_slice(batch, write_slice.chunk_ids, parts,
        jsonb_path_query_array(write_slice.answers, '$[$first to last]', jsonb_build_object('first', v_half)),
        write_slice.heals, write_slice.queue_position, write_slice.notes_version);
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
    using v_unwritten, batch.pipeline_id;
  end if;
  return jsonb_build_object('enriched', v_written, 'stale', v_stale, 'gone', v_taken - v_written - v_stale, 'failed', 0);
end;
$$;
comment on function rowmill.write_slice is
   'Writes answers over the very inputs that they were computed from, and settles their rows in flight. A value that Postgres refuses fails its row alone. Returns {"enriched","stale","gone","failed"}.';
revoke all on function rowmill.write_slice from public;
