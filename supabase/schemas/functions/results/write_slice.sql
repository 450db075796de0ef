-- API: internal
create or replace function rowmill.write_slice(
  batch rowmill.batch_processing_details,
  chunk_ids bigint[],
  parts rowmill.source_parts,
  answers jsonb, -- [{"c": chunk, "n", "h": hash, "o0": value, …}]
  statement text -- of slice_sql
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
  v_fault text;
  v_half integer := jsonb_array_length(answers) / 2;
begin
  begin
    v_slice := rowmill.run_slice(batch, write_slice.chunk_ids, parts, write_slice.answers, write_slice.statement);
  exception
    -- "others" leaves out assertions, which a trigger may make.
    when others or assert_failure then
      get stacked diagnostics v_state = returned_sqlstate, v_message = message_text;
      v_fault := rowmill.fault_of(v_state);
      -- No row may lose its answer to the system's state.
      if v_fault = 'system' then
        raise;
      end if;
      if v_fault = 'statement' then
        -- What the statement itself lacks, it lacks without a row as well: that is raised here.
        perform rowmill.run_slice(batch, write_slice.chunk_ids, parts, '[]', write_slice.statement);
      end if;
      if v_half > 0 then
        -- Halves, until the stranger stands alone and its neighbours are written.
        return rowmill.add_slices(
          rowmill.write_slice(batch, write_slice.chunk_ids, parts,
            jsonb_path_query_array(write_slice.answers, '$[0 to $last]', jsonb_build_object('last', v_half - 1)), write_slice.statement),
          rowmill.write_slice(batch, write_slice.chunk_ids, parts,
            jsonb_path_query_array(write_slice.answers, '$[$first to last]', jsonb_build_object('first', v_half)), write_slice.statement)
        );
      end if;
      return jsonb_build_object('enriched', 0, 'stale', 0, 'gone', 0, 'failed', 0, 'refused', jsonb_build_array(jsonb_build_object(
        'answer', write_slice.answers -> 0, 'sqlstate', v_state, 'message', v_message, 'is_row', v_fault = 'row'
      )));
  end;

  v_stale := case when v_slice.unwritten is null then 0 else rowmill.queue_stale(batch.pipeline_id, parts, v_slice.unwritten) end;
  return jsonb_build_object(
    'enriched', v_slice.written, 'stale', v_stale, 'gone', v_slice.taken - v_slice.written - v_stale, 'failed', 0, 'refused', '[]'::jsonb
  );
end;
$$;
comment on function rowmill.write_slice is
  'Writes answers over the very inputs that they were computed from, and settles their rows in flight. Returns {"enriched", "stale", '
  '"gone", "failed": 0, "refused": [{"answer", "sqlstate", "message", "is_row"}]}: the refused ones, each of which Postgres refuses '
  'alone, are in flight still. Raises what is no row''s fault.';
revoke all on function rowmill.write_slice from public;
