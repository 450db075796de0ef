-- API: worker
create or replace function rowmill.hold_rows(chunk_id bigint, worker text, rows jsonb)
returns table (n integer, output_scale integer)
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_chunk rowmill.chunks;
  v_held integer[];
begin
  select c.* into v_chunk
  from rowmill.chunks as c
  where c.id = hold_rows.chunk_id and c.state = 'accepted' and c.owner = hold_rows.worker
  for update;
  if not found then
    return;
  end if;
  -- As stored it is compressed, and each look at it would unpack it whole: 60 µs a row in place of 14.
  v_chunk.keys := v_chunk.keys || '[]';
  with held as (
    insert into rowmill.chunk_rows (chunk_id, n, pipeline_id, key, hash)
    select v_chunk.id, r.n, v_chunk.pipeline_id, v_chunk.keys -> r.n, r.hash
    from jsonb_to_recordset(hold_rows.rows) as r(n integer, hash text)
    where r.n >= 0 and r.n < v_chunk.row_count
    order by md5((v_chunk.keys -> r.n)::text) -- one order for all sessions: no deadlock
    on conflict do nothing
    returning chunk_rows.n
  )
  select coalesce(array_agg(held.n), '{}') into strict v_held from held;

  if exists (select from rowmill.answered_rows as a where a.pipeline_id = v_chunk.pipeline_id) then
    v_held := rowmill.leave_out_answered(v_chunk.pipeline_id, v_chunk.id, v_chunk.oldest_entry, v_held);
  end if;
  -- After chunk_rows, as whoever settles a row has it.
  if exists (select from rowmill.failures as f where f.pipeline_id = v_chunk.pipeline_id) then
    perform rowmill.void_failures(v_chunk.pipeline_id, v_chunk.keys, hold_rows.rows);
  end if;
  if v_chunk.only_missing then
    v_held := rowmill.leave_out_filled(v_chunk.pipeline_id, v_chunk.id, v_held);
  end if;

  if exists (select from rowmill.failures as f where f.pipeline_id = v_chunk.pipeline_id and f.truncations > 0) then
    return query
    select h.n, coalesce(power(2, least(f.truncations, 5))::integer, 1)
    from unnest(v_held) as h(n)
    join rowmill.chunk_rows as r on r.chunk_id = v_chunk.id and r.n = h.n
    left join rowmill.failures as f
      on f.pipeline_id = v_chunk.pipeline_id and md5(f.key::text) = md5(r.key::text) and f.hash = r.hash;
  else
    return query select h.n, 1 from unnest(v_held) as h(n);
  end if;
end;
$$;
comment on function rowmill.hold_rows is
  'Notes rows of an accepted chunk, [{"n","hash"}], as in flight, and returns the places that may be sent, '
  'each with what its limit on output tokens is to be multiplied by: a row whose very input is in flight already, '
  'or was answered since it was queued, is left out, and in a chunk of missing rows one that was answered since it was read.';
revoke all on function rowmill.hold_rows from public;
