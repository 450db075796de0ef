-- API: internal
create or replace function rowmill.form_chunk(
  pipeline_id bigint,
  partial boolean, -- true takes fewer than chunk_size keys too
  own_only boolean default false -- true takes only what this transaction queued
)
returns bigint
language plpgsql
security definer -- called from triggers of whoever inserts
set search_path = pg_catalog, pg_temp
as $$
declare
  v_chunk_size integer;
  v_version integer;
  v_entry record;
  v_ids bigint[];
  v_total integer := 0;
  v_other_ids bigint[];
  v_other_total integer := 0;
  v_only_missing boolean;
begin
  select p.chunk_size, p.version into v_chunk_size, v_version
  from rowmill.pipelines as p
  where p.id = form_chunk.pipeline_id and p.state = 'active';
  if not found then
    return null;
  end if;

  -- Entry by entry, so that no more are locked than are taken (a loop fetches a few ahead).
  for v_entry in
    select p.id, p.row_count, p.only_missing
    from rowmill.pending_keys as p
    where p.pipeline_id = form_chunk.pipeline_id
    and p.queued_at <= clock_timestamp()
    and (not form_chunk.own_only or p.xid = pg_current_xact_id())
    order by p.id
    for update skip locked
  loop
    v_only_missing := coalesce(v_only_missing, v_entry.only_missing);
    if v_entry.only_missing = v_only_missing then
      v_ids := v_ids || v_entry.id;
      v_total := v_total + v_entry.row_count;
    else
      v_other_ids := v_other_ids || v_entry.id;
      v_other_total := v_other_total + v_entry.row_count;
    end if;
    exit when greatest(v_total, v_other_total) >= v_chunk_size;
  end loop;
  -- A chunk is of one kind. A full one does not wait for an incomplete one of the other kind that is older.
  if v_other_total >= v_chunk_size then
    v_only_missing := not v_only_missing;
    v_ids := v_other_ids;
    v_total := v_other_total;
  end if;
  if v_total = 0 or (v_total < v_chunk_size and not form_chunk.partial) then
    return null;
  end if;
  return rowmill.write_chunk(form_chunk.pipeline_id, v_ids, v_only_missing, v_chunk_size, v_version);
end;
$$;
comment on function rowmill.form_chunk is
  'Groups the oldest pending keys into a waiting chunk and returns its id; null where there are too few, or the pipeline is not active. '
  'Skips what another session is grouping. A rollback gives the keys back.';
revoke all on function rowmill.form_chunk from public;
