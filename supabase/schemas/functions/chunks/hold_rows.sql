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
  v_parts rowmill.source_parts;
  v_held integer[];
begin
  select c.* into v_chunk
  from rowmill.chunks as c
  where c.id = hold_rows.chunk_id and c.state = 'accepted' and c.owner = hold_rows.worker
  for update;
  if not found then
    return;
  end if;
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
    -- Only what was queued before the answer, and only where the answer is still there: a row that was inserted anew,
    -- or whose outputs were erased, is asked for.
    v_parts := rowmill.source_parts_of(v_chunk.pipeline_id);
    execute format(
      $sql$
      with answered as (
        delete from rowmill.chunk_rows as k
        using rowmill.answered_rows as a, %1$s as s
        where k.chunk_id = $1 and k.n = any ($2)
        and a.pipeline_id = $3 and md5(a.key::text) = md5(k.key::text) and a.hash = k.hash
        and a.queue_position >= $4
        and %2$s and not (%3$s)
        returning k.n
      )
      select coalesce(array_agg(h.n), '{}') from unnest($2) as h(n) where h.n not in (select answered.n from answered)
      $sql$,
      v_parts.relation, v_parts.key_match, v_parts.missing
    )
    into strict v_held
    using v_chunk.id, v_held, v_chunk.pipeline_id, v_chunk.oldest_entry;
    -- Asked for with another input, a row has no answer that still holds. Locked in one order, as failures are.
    perform
    from rowmill.answered_rows as a
    join rowmill.chunk_rows as r on md5(r.key::text) = md5(a.key::text)
    where a.pipeline_id = v_chunk.pipeline_id and r.chunk_id = v_chunk.id and r.n = any (v_held)
    order by md5(a.key::text), a.hash
    for update of a;
    delete from rowmill.answered_rows as a
    using rowmill.chunk_rows as r
    where r.chunk_id = v_chunk.id and r.n = any (v_held)
    and a.pipeline_id = v_chunk.pipeline_id and md5(a.key::text) = md5(r.key::text);
  end if;

  -- An edit makes an old failure's count and verdict void. After chunk_rows, as whoever settles a row has it.
  if exists (select from rowmill.failures as f where f.pipeline_id = v_chunk.pipeline_id) then
    perform
    from rowmill.failures as f
    join jsonb_to_recordset(hold_rows.rows) as r(n integer, hash text) on md5(f.key::text) = md5((v_chunk.keys -> r.n)::text)
    where f.pipeline_id = v_chunk.pipeline_id and f.hash <> r.hash
    order by md5(f.key::text)
    for update of f;
    delete from rowmill.failures as f
    using jsonb_to_recordset(hold_rows.rows) as r(n integer, hash text)
    where f.pipeline_id = v_chunk.pipeline_id
    and md5(f.key::text) = md5((v_chunk.keys -> r.n)::text)
    and f.hash <> r.hash;
  end if;

  if v_chunk.only_missing then
    -- An answer may have been written since the rows were read. Now that they are held, none can be on its way.
    v_parts := rowmill.source_parts_of(v_chunk.pipeline_id);
    execute format(
      $sql$
      with answered as (
        delete from rowmill.chunk_rows as k
        using %1$s as s
        where k.chunk_id = $1 and k.n = any ($2) and %2$s and not (%3$s)
        returning k.n
      )
      select coalesce(array_agg(h.n), '{}') from unnest($2) as h(n) where h.n not in (select answered.n from answered)
      $sql$,
      v_parts.relation, v_parts.key_match, v_parts.missing
    )
    into strict v_held
    using v_chunk.id, v_held;
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
   'Notes rows of an accepted chunk, [{"n","hash"}], as in flight, and returns the places that may be sent, each with what its limit on output tokens is to be multiplied by: a row whose very input is in flight already, or was answered since it was queued, is left out, and in a chunk of missing rows one that was answered since it was read.';
revoke all on function rowmill.hold_rows from public;
