-- What a worker does with a chunk until its file is ready.
-- Every step is guarded by the state that it leaves and by the owner; a step that finds neither changes nothing
-- and says so. Workers need not stop.

-- API: worker
create function rowmill.claim_chunk(
  chunk_id bigint,
  pipeline text,
  worker text,
  last_n integer default null -- the highest place among the rows that came along
)
returns table (status text, row_count integer, pipeline_id bigint)
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines;
  v_chunk rowmill.chunks;
begin
  select p.* into v_pipeline
  from rowmill.pipelines as p
  where p.name = claim_chunk.pipeline and p.state <> 'dropped';
  if not found then
    return query select 'unknown_pipeline', null::integer, null::bigint;
    return;
  end if;
  if v_pipeline.state = 'paused' then
    return query select 'paused', null::integer, v_pipeline.id;
    return;
  end if;

  update rowmill.chunks as c
  set state = 'accepted', owner = claim_chunk.worker, lease_until = now() + s.lease
  from rowmill.settings as s
  where c.id = claim_chunk.chunk_id and c.pipeline_id = v_pipeline.id and c.state = 'waiting'
  and coalesce(claim_chunk.last_n, -1) < c.row_count
  returning c.* into v_chunk;
  if found then
    return query select 'accepted', v_chunk.row_count, v_chunk.pipeline_id;
    return;
  end if;

  select c.* into v_chunk from rowmill.chunks as c where c.id = claim_chunk.chunk_id;
  return query select
    case
      when v_chunk.id is null or v_chunk.pipeline_id <> v_pipeline.id then 'unknown_chunk'
      when claim_chunk.last_n >= v_chunk.row_count then 'foreign_rows'
      else 'known'
    end,
    v_chunk.row_count, v_chunk.pipeline_id;
end;
$$;
comment on function rowmill.claim_chunk(bigint, text, text, integer) is
  'Takes a waiting chunk under a lease: "accepted"; "known" where somebody has or had it, which repeats harmlessly. Else nothing changes: "paused", "unknown_pipeline", "unknown_chunk", "foreign_rows" (a place beyond the chunk).';
revoke all on function rowmill.claim_chunk(bigint, text, text, integer) from public;

-- API: worker
create function rowmill.claim_waiting_chunks(worker text, max_chunks integer)
returns table (chunk_id bigint, pipeline_id bigint, row_count integer)
language sql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
  with found as (
    select c.id
    from rowmill.chunks as c
    join rowmill.pipelines as p on p.id = c.pipeline_id
    cross join rowmill.settings as s
    where c.state = 'waiting'
    and p.state = 'active'
    and (c.posted_at is null or c.posted_at < now() - s.fetch_after)
    and rowmill.structure_problem(p.id) is null
    order by c.id
    limit claim_waiting_chunks.max_chunks
    for update of c skip locked
  ), claimed as (
    update rowmill.chunks as c
    set state = 'accepted', owner = claim_waiting_chunks.worker, lease_until = now() + s.lease
    from found, rowmill.settings as s
    where c.id = found.id
    returning c.id, c.pipeline_id, c.row_count
  )
  select c.id, c.pipeline_id, c.row_count from claimed as c order by c.id;
$$;
comment on function rowmill.claim_waiting_chunks(text, integer) is
  'Takes, under a lease, the oldest chunks that nobody posted, or that were posted a while ago and accepted by nobody.';
revoke all on function rowmill.claim_waiting_chunks(text, integer) from public;

-- API: worker
create function rowmill.release_chunk(chunk_id bigint, worker text)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
begin
  update rowmill.chunks as c
  -- fetched again after settings.fetch_after: what failed just now would fail again at once
  set state = 'waiting', owner = null, lease_until = null, posted_at = now()
  where c.id = release_chunk.chunk_id and c.state = 'accepted' and c.owner = release_chunk.worker;
  if found then
    delete from rowmill.chunk_rows as r where r.chunk_id = release_chunk.chunk_id;
    return true;
  end if;
  return false;
end;
$$;
comment on function rowmill.release_chunk(bigint, text) is 'Gives an accepted chunk back untouched; false where it is not this worker''s any more.';
revoke all on function rowmill.release_chunk(bigint, text) from public;

-- API: worker
create function rowmill.hold_rows(chunk_id bigint, worker text, rows jsonb)
returns setof integer
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
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
  -- An edit makes an old failure's count and verdict void.
  if exists (select from rowmill.failures as f where f.pipeline_id = v_chunk.pipeline_id) then
    delete from rowmill.failures as f
    using jsonb_to_recordset(hold_rows.rows) as r(n integer, hash text)
    where f.pipeline_id = v_chunk.pipeline_id
    and md5(f.key::text) = md5((v_chunk.keys -> r.n)::text)
    and f.hash <> r.hash;
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
  return query select h.n from unnest(v_held) as h(n);
end;
$$;
comment on function rowmill.hold_rows(bigint, text, jsonb) is
  'Notes rows of an accepted chunk, [{"n","hash"}], as in flight, and returns the places that may be sent: a row whose very input is in flight already is left out, and in a chunk of missing rows one that was answered since it was read.';
revoke all on function rowmill.hold_rows(bigint, text, jsonb) from public;

-- API: worker
create function rowmill.get_pipeline(pipeline_id bigint)
returns json
language sql
stable
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
  select json_build_object(
    'id', p.id, 'name', p.name, 'version', p.version,
    'instructions', p.instructions, 'prompt', p.prompt,
    'inputs', (select json_agg(i.value -> 'name' order by i.place) from jsonb_array_elements(p.inputs) with ordinality as i(value, place)),
    'outputs', (select json_agg(json_build_object('name', o.value -> 'name', 'encoding', o.value -> 'encoding') order by o.place) from jsonb_array_elements(p.outputs) with ordinality as o(value, place)),
    'model', p.model, 'endpoint', p.endpoint, 'format', p.format, 'params', p.params,
    'response_schema_text', p.response_schema::text
  )
  from rowmill.pipelines as p
  where p.id = get_pipeline.pipeline_id;
$$;
comment on function rowmill.get_pipeline(bigint) is 'What a worker must know of a pipeline to ask and to read answers. The schema comes as text: the order of its properties matters.';
revoke all on function rowmill.get_pipeline(bigint) from public;

-- API: worker
create function rowmill.close_chunk(chunk_id bigint, worker text)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
begin
  update rowmill.chunks as c
  set state = 'done', owner = null, lease_until = null, keys = null, ended_at = now()
  where c.id = close_chunk.chunk_id and c.state = 'accepted' and c.owner = close_chunk.worker
  and not exists (select from rowmill.chunk_rows as r where r.chunk_id = c.id);
  return found;
end;
$$;
comment on function rowmill.close_chunk(bigint, text) is 'Ends an accepted chunk that has nothing to send: its rows are gone, filtered out or in flight elsewhere.';
revoke all on function rowmill.close_chunk(bigint, text) from public;

-- API: worker
create function rowmill.put_back_rows(chunk_id bigint, worker text, places integer[])
returns integer
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_chunk rowmill.chunks;
  v_rows integer;
begin
  select c.* into v_chunk
  from rowmill.chunks as c
  where c.id = put_back_rows.chunk_id and c.state = 'accepted' and c.owner = put_back_rows.worker
  for update;
  if not found then
    return 0;
  end if;
  delete from rowmill.chunk_rows as r where r.chunk_id = v_chunk.id and r.n = any (put_back_rows.places);
  insert into rowmill.pending_keys (pipeline_id, keys, row_count, only_missing)
  select v_chunk.pipeline_id, jsonb_agg(q.key order by q.place), count(*), v_chunk.only_missing
  from (
    select v_chunk.keys -> p.n as key, p.place, (p.place - 1) / 1000 as slice
    from unnest(put_back_rows.places) with ordinality as p(n, place)
    where p.n >= 0 and p.n < v_chunk.row_count
  ) as q
  group by q.slice;
  select cardinality(put_back_rows.places) into strict v_rows;
  return v_rows;
end;
$$;
comment on function rowmill.put_back_rows(bigint, text, integer[]) is 'Queues rows of an accepted chunk again, because the batch is full; returns how many.';
revoke all on function rowmill.put_back_rows(bigint, text, integer[]) from public;

-- API: worker
create function rowmill.note_pipeline_problem(pipeline_id bigint, problem text)
returns void
language sql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
  update rowmill.pipelines as p
  set
    problem = note_pipeline_problem.problem,
    problem_at = case when note_pipeline_problem.problem is not null then now() end,
    problem_by = case when note_pipeline_problem.problem is not null then 'worker' end
  where p.id = note_pipeline_problem.pipeline_id
  and p.problem is distinct from note_pipeline_problem.problem
  and (note_pipeline_problem.problem is not null or p.problem_by = 'worker');
$$;
comment on function rowmill.note_pipeline_problem(bigint, text) is 'What a worker found wrong, for pipeline_status; null, when it works again, clears what a worker found.';
revoke all on function rowmill.note_pipeline_problem(bigint, text) from public;
