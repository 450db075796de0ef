-- API: internal
create or replace function rowmill.run_slice(
  batch rowmill.batch_processing_details,
  chunk_ids bigint[],
  parts rowmill.source_parts,
  answers jsonb, -- [{"c": chunk, "n", "h": hash, "o0": value, …}]
  statement text, -- of slice_sql
  out taken integer,
  out written integer,
  out unwritten jsonb -- [{"key", "hash"}] of those that were taken and not written; null: none
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_put integer;
  v_is_kept boolean;
begin
  -- The table's own triggers and checks run inside this statement, and may name things as any session of Rowmill's owner does.
  perform set_config('search_path', rowmill.owner_path(), true);
  execute run_slice.statement into strict taken, written, v_put, unwritten
  using run_slice.answers, run_slice.chunk_ids, batch.id, batch.model, batch.ended_at, batch.pipeline_version;
  perform set_config('search_path', 'pg_catalog, pg_temp', true);

  if parts.target is not null then
    v_is_kept := v_put <> written;
  elsif unwritten is not null then
    execute format(
      'select exists (select from jsonb_to_recordset($1) as k(key jsonb, hash text) join %1$s as s on %2$s where %3$s = k.hash)',
      parts.relation, parts.key_match, parts.hash
    )
    into strict v_is_kept
    using unwritten;
  end if;
  if v_is_kept then
    -- Taken for stale, it would be asked for, and paid for, again and again.
    raise exception 'a trigger of the table kept the row as it was';
  end if;
end;
$$;
comment on function rowmill.run_slice is
  'Runs the statement of slice_sql once. Raises what Postgres, the table''s triggers or its checks raise, and where a trigger kept '
  'a row from being written; the caller then undoes it.';
revoke all on function rowmill.run_slice from public;
