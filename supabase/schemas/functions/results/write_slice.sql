-- API: internal
create or replace function rowmill.write_slice(
  batch rowmill.batch_processing_details,
  chunk_ids bigint[],
  parts rowmill.source_parts,
  answers jsonb, -- [{"c": chunk, "n", "h": hash, "o0": value, …}]
  heals boolean, -- these three as slice_sql has them
  queue_position bigint,
  notes_version boolean
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_slice record;
  v_stale integer;
  v_state text;
  v_message text;
  v_half integer := jsonb_array_length(answers) / 2;
  v_left jsonb;
  v_right jsonb;
begin
  begin
    v_slice := rowmill.run_slice(batch, write_slice.chunk_ids, parts, write_slice.answers, rowmill.slice_sql(
      batch.pipeline_id, parts, write_slice.heals, write_slice.queue_position, write_slice.notes_version
    ));
  exception
    when others then
      get stacked diagnostics v_state = returned_sqlstate, v_message = message_text;
      -- No row's fault, and none may lose its answer to it: connection, transaction state, deadlocks, rights and
      -- missing objects, resources, locks, an operator, the system. The rest is the row's own: data, constraints,
      -- and whatever the user's triggers raise, under codes of their own as well.
      if left(v_state, 2) in ('08', '0A', '25', '40', '42', '53', '54', '55', '57', '58', 'XX') then
        raise;
      end if;
      if v_half = 0 then
        return jsonb_build_object('enriched', 0, 'stale', 0, 'gone', 0, 'failed',
          rowmill.fail_answer(batch, write_slice.answers -> 0, v_state, v_message));
      end if;
      -- Halves, until the stranger stands alone and its neighbours are written.
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

  v_stale := case when v_slice.unwritten is null then 0 else rowmill.queue_stale(batch.pipeline_id, parts, v_slice.unwritten) end;
  return jsonb_build_object(
    'enriched', v_slice.written, 'stale', v_stale, 'gone', v_slice.taken - v_slice.written - v_stale, 'failed', 0
  );
end;
$$;
comment on function rowmill.write_slice is
  'Writes answers over the very inputs that they were computed from, and settles their rows in flight. A value that Postgres '
  'refuses fails its row alone. Returns {"enriched", "stale", "gone", "failed"}.';
revoke all on function rowmill.write_slice from public;
