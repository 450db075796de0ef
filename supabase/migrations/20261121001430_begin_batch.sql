-- The intent of a batch, with whatever did not fit into its file, in one transaction that is on disk before anything
-- reaches the provider. Rows that were put back before it could be queued twice by a crash in between.
-- Workers must stop: an older one calls put_back_rows.

-- API: internal
create function rowmill.commit_durably()
returns void
language sql
set search_path = ''
as $$
  -- Only where a crash could lose it: "local" and the stronger kinds stay.
  select set_config('synchronous_commit', 'on', true) where current_setting('synchronous_commit') = 'off';
$$;
comment on function rowmill.commit_durably() is
  'Has this transaction on disk when its commit is answered, on a server that is set to answer earlier. For steps that something outside follows.';
revoke all on function rowmill.commit_durably() from public;

drop function rowmill.put_back_rows(bigint, text, integer[]);
drop function rowmill.begin_batch(text, text, bigint[], integer, bigint);

-- API: worker
create function rowmill.begin_batch(
  worker text,
  key text, -- our name for the batch, unique
  chunk_ids bigint[],
  requests integer,
  bytes bigint,
  left_over jsonb default '[]' -- [{"c": chunk, "n"}]: rows of these chunks that found no room
)
returns bigint
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines;
  v_held integer;
  v_batch_id bigint;
begin
  select p.* into v_pipeline
  from rowmill.pipelines as p
  where p.id = (select min(c.pipeline_id) from rowmill.chunks as c where c.id = any (begin_batch.chunk_ids))
  and p.state <> 'dropped';
  if not found then
    return null;
  end if;
  perform
  from rowmill.chunks as c
  where c.id = any (begin_batch.chunk_ids)
  and c.state = 'accepted' and c.owner = begin_batch.worker and c.pipeline_id = v_pipeline.id
  order by c.id
  for update;
  get diagnostics v_held = row_count;
  if v_held <> cardinality(begin_batch.chunk_ids) then
    return null;
  end if;
  perform rowmill.commit_durably();

  delete from rowmill.chunk_rows as r
  using jsonb_to_recordset(begin_batch.left_over) as l(c bigint, n integer)
  where r.chunk_id = any (begin_batch.chunk_ids) and r.chunk_id = l.c and r.n = l.n;
  insert into rowmill.pending_keys (pipeline_id, keys, row_count, only_missing, may_repeat, first_entry)
  -- They may repeat: an intent that is given up leaves them in its chunk as well.
  select v_pipeline.id, jsonb_agg(q.key order by q.place), count(*), q.only_missing, true, q.oldest_entry
  from (
    select c.id, c.keys -> l.n as key, l.place, c.only_missing, c.oldest_entry,
      (row_number() over (partition by c.id order by l.place) - 1) / 1000 as slice
    from rows from (jsonb_to_recordset(begin_batch.left_over) as (c bigint, n integer)) with ordinality as l(c, n, place)
    join rowmill.chunks as c on c.id = l.c and c.id = any (begin_batch.chunk_ids)
    where l.n >= 0 and l.n < c.row_count
  ) as q
  group by q.id, q.slice, q.only_missing, q.oldest_entry;

  insert into rowmill.batch_processing_details (key, pipeline_id, pipeline_version, model, endpoint, requests, bytes, owner, lease_until)
  select begin_batch.key, v_pipeline.id, v_pipeline.version, v_pipeline.model, v_pipeline.endpoint,
    begin_batch.requests, begin_batch.bytes, begin_batch.worker, now() + s.lease
  from rowmill.settings as s
  returning id into strict v_batch_id;
  update rowmill.chunks as c
  set state = 'batched', batch_id = v_batch_id, owner = null, lease_until = null
  where c.id = any (begin_batch.chunk_ids);
  return v_batch_id;
end;
$$;
comment on function rowmill.begin_batch(text, text, bigint[], integer, bigint, jsonb) is
  'Writes the intent of a batch over accepted chunks before anything reaches the provider, and queues the rows again that found no room; returns its id. null, and nothing changed, where the pipeline was dropped or a chunk is not under this lease (any more).';
revoke all on function rowmill.begin_batch(text, text, bigint[], integer, bigint, jsonb) from public;
