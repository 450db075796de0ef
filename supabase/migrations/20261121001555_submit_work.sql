-- The intent of a batch reserves what it may cost and the tokens that it may take, or says why it cannot.
-- Workers must stop: begin_batch and hold_rows answer otherwise.

alter table rowmill.failures add column truncations integer not null default 0;
comment on column rowmill.failures.truncations is 'How often this input''s answer was cut off at the limit on output tokens; each time the limit is doubled for the next.';

alter table rowmill.chunk_rows add column same_as integer;
comment on column rowmill.chunk_rows.same_as is 'The place in the chunk of the row with the same input that is sent for this one as well; null: it is sent itself.';
create index chunk_rows_twins on rowmill.chunk_rows (chunk_id, same_as) where same_as is not null;

drop function rowmill.begin_batch(text, text, bigint[], integer, bigint, jsonb);

-- API: worker
create function rowmill.begin_batch(
  worker text,
  key text, -- our name for the batch, unique
  chunk_ids bigint[],
  version integer, -- of the pipeline, that the file was written by
  requests integer,
  bytes bigint,
  raw_input_tokens bigint, -- by the tokenizer
  max_output_tokens bigint, -- the sum of the requests' own limits; null: they have none
  left_over jsonb default '[]', -- [{"c": chunk, "n"}]: rows of these chunks that found no room
  twins jsonb default '[]' -- [{"c", "n", "of"}]: rows whose answer is that of place "of"
)
returns jsonb
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines;
  v_held integer;
  v_rows integer;
  v_batch_id bigint;
  v_room rowmill.room;
  v_price rowmill.model_prices;
  v_forecast rowmill.forecast;
  v_fits bigint;
begin
  select p.* into v_pipeline
  from rowmill.pipelines as p
  where p.id = (select min(c.pipeline_id) from rowmill.chunks as c where c.id = any (begin_batch.chunk_ids))
  and p.state <> 'dropped'
  for share; -- it is not altered meanwhile
  if not found then
    return jsonb_build_object('status', 'lost');
  end if;
  perform
  from rowmill.chunks as c
  where c.id = any (begin_batch.chunk_ids)
  and c.state = 'accepted' and c.owner = begin_batch.worker and c.pipeline_id = v_pipeline.id
  order by c.id
  for update;
  get diagnostics v_held = row_count;
  if v_held <> cardinality(begin_batch.chunk_ids) then
    return jsonb_build_object('status', 'lost');
  end if;
  -- A budget that was set since the file was written wants limits in it.
  if v_pipeline.version <> begin_batch.version or (begin_batch.max_output_tokens is null and rowmill.has_budget(v_pipeline.id)) then
    return jsonb_build_object('status', 'altered');
  end if;

  -- One at a time, from the look at what is left until it is taken, and committed.
  perform pg_advisory_xact_lock(hashtextextended('rowmill.reserve', 0));
  v_price := rowmill.price_of(v_pipeline.model);
  v_room := rowmill.room_for(v_pipeline.id);
  if begin_batch.max_output_tokens is null and v_room.usd is not null then
    return jsonb_build_object('status', 'altered'); -- the installation's came while it was waited for
  end if;
  v_forecast := rowmill.forecast_of(rowmill.history_of(v_pipeline.id), v_price,
    begin_batch.requests, begin_batch.raw_input_tokens, begin_batch.max_output_tokens);
  if v_room.code is not null then
    return jsonb_build_object('status', 'waits', 'waits_for', v_room.code, 'reason', v_room.reason, 'fits', 0);
  end if;
  if v_room.tokens is not null and not v_room.tokens_come then
    -- Only a batch that ends well teaches that there is room again. With none on its way one request is tried, however
    -- little the model is thought to take; what an operator says it takes holds.
    v_room.tokens := greatest(v_room.tokens, least(
      ceil(v_forecast.most_tokens::numeric / nullif(begin_batch.requests, 0)),
      (select l.enqueued_tokens from rowmill.model_limits as l where l.model = v_pipeline.model)
    ));
  end if;
  if v_forecast.most_usd > v_room.usd or v_forecast.most_tokens > v_room.tokens then
    v_fits := least(
      floor(v_room.usd / nullif(v_forecast.most_usd / begin_batch.requests, 0)),
      floor(v_room.tokens / nullif(v_forecast.most_tokens::numeric / begin_batch.requests, 0))
    );
    return jsonb_build_object(
      'status', 'waits',
      'waits_for', case when v_forecast.most_tokens > v_room.tokens then 'tokens' else 'budget' end,
      'reason', case
        when v_forecast.most_tokens > v_room.tokens
          then format('Its %s input tokens do not fit into the queue for %s, which has room for %s. It goes on when batches end.', v_forecast.most_tokens, v_pipeline.model, v_room.tokens)
        else rowmill.budget_reason(v_forecast.most_usd, v_room)
      end,
      -- A part is sent only where waiting would not make room for the whole.
      'fits', case
        when v_forecast.most_usd > v_room.usd and v_room.usd_comes or v_forecast.most_tokens > v_room.tokens and v_room.tokens_come then 0
        else v_fits
      end
    );
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
  update rowmill.chunk_rows as r
  set same_as = t."of"
  from jsonb_to_recordset(begin_batch.twins) as t(c bigint, n integer, "of" integer)
  where r.chunk_id = any (begin_batch.chunk_ids) and r.chunk_id = t.c and r.n = t.n;

  select count(*) into strict v_rows from rowmill.chunk_rows as r where r.chunk_id = any (begin_batch.chunk_ids);
  insert into rowmill.batch_processing_details (
    key, pipeline_id, pipeline_version, model, endpoint, requests, rows, bytes, owner, lease_until, raw_input_tokens,
    estimated_input_tokens, estimated_output_tokens, reserved_tokens, price, estimated_usd, reserved_usd, has_twins
  )
  select begin_batch.key, v_pipeline.id, v_pipeline.version, v_pipeline.model, v_pipeline.endpoint,
    begin_batch.requests, v_rows, begin_batch.bytes, begin_batch.worker, now() + s.lease, begin_batch.raw_input_tokens,
    v_forecast.input_tokens, v_forecast.output_tokens, v_forecast.most_tokens, v_price, v_forecast.usd, v_forecast.most_usd,
    begin_batch.twins <> '[]'
  from rowmill.settings as s
  returning id into strict v_batch_id;
  if v_forecast.most_usd <> 0 then
    insert into rowmill.spending as s (pipeline_id, day, reserved_usd)
    values (v_pipeline.id, (now() at time zone 'UTC')::date, v_forecast.most_usd)
    on conflict (pipeline_id, day) do update set reserved_usd = s.reserved_usd + excluded.reserved_usd;
  end if;
  update rowmill.chunks as c
  set state = 'batched', batch_id = v_batch_id, owner = null, lease_until = null
  where c.id = any (begin_batch.chunk_ids);
  return jsonb_build_object('status', 'begun', 'batch_id', v_batch_id);
end;
$$;
comment on function rowmill.begin_batch(text, text, bigint[], integer, integer, bigint, bigint, bigint, jsonb, jsonb) is
  'Writes the intent of a batch over accepted chunks before anything reaches the provider, reserves what it may cost and its tokens, and queues the rows again that found no room in its file. {"status"}: "begun" with "batch_id". Else nothing is changed: "waits" with "waits_for", "reason" and "fits", how many of its requests could go; "altered": the pipeline is another one than the file was written by; "lost": it was dropped, or a chunk is not under this lease (any more).';
revoke all on function rowmill.begin_batch(text, text, bigint[], integer, integer, bigint, bigint, bigint, jsonb, jsonb) from public;

drop function rowmill.hold_rows(bigint, text, jsonb);

-- API: worker
create function rowmill.hold_rows(chunk_id bigint, worker text, rows jsonb)
returns table (n integer, output_scale integer)
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
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
comment on function rowmill.hold_rows(bigint, text, jsonb) is
  'Notes rows of an accepted chunk, [{"n","hash"}], as in flight, and returns the places that may be sent, each with what its limit on output tokens is to be multiplied by: a row whose very input is in flight already, or was answered since it was queued, is left out, and in a chunk of missing rows one that was answered since it was read.';
revoke all on function rowmill.hold_rows(bigint, text, jsonb) from public;

-- API: worker
create or replace function rowmill.start_batch(
  batch_id bigint,
  provider_batch_id text,
  provider_status text,
  input_file_id text
)
returns text
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_batch rowmill.batch_processing_details;
begin
  select b.* into v_batch
  from rowmill.batch_processing_details as b
  where b.id = start_batch.batch_id
  for update;
  if v_batch.provider_batch_id is not distinct from start_batch.provider_batch_id then
    return 'known';
  end if;
  if v_batch.state not in ('preparing', 'rejected', 'abandoned') then
    return 'foreign';
  end if;
  update rowmill.batch_processing_details as b
  set
    state = 'running',
    provider_batch_id = start_batch.provider_batch_id,
    provider_status = start_batch.provider_status,
    input_file_id = coalesce(b.input_file_id, start_batch.input_file_id),
    submitted_at = now(),
    poll_at = now(),
    done_at = null,
    sweep_at = null,
    owner = null,
    lease_until = null,
    cancel_asked = b.cancel_asked or v_batch.state <> 'preparing',
    -- No row waits for a stray; what it costs is booked when it has ended.
    requests = case v_batch.state when 'preparing' then b.requests else 0 end,
    rows = case v_batch.state when 'preparing' then b.rows else 0 end,
    settled_at = null,
    spent_usd = null,
    problem = case when v_batch.state <> 'preparing' then 'It was created after its intent had been given up; it is being cancelled.' end
  where b.id = v_batch.id;
  update rowmill.pipelines as p
  set strikes = 0, wait_until = null, wait_reason = null
  where p.id = v_batch.pipeline_id and p.wait_reason is not null;
  return case v_batch.state when 'preparing' then 'started' else 'stray' end;
end;
$$;

drop function rowmill.abandon_batch(bigint, text, text, boolean);

-- API: worker
create function rowmill.abandon_batch(
  batch_id bigint,
  worker text,
  problem text,
  may_have_left boolean, -- whether a file, or even a batch, may yet turn up at the provider
  cause text default null -- why the provider took none: 'tokens', 'quota', 'provider'; null: it did not say no
)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
declare
  v_batch rowmill.batch_processing_details;
begin
  select b.* into v_batch
  from rowmill.batch_processing_details as b
  where b.id = abandon_batch.batch_id and b.state = 'preparing' and b.owner = abandon_batch.worker
  for update;
  if not found then
    return false;
  end if;
  -- Before the money: begin_batch, too, has the pipeline first and its spending second.
  case abandon_batch.cause
    when 'quota' then
      perform rowmill.stop_pipeline(v_batch.pipeline_id, format('quota_exhausted: the provider says: %s More tries would only fail.', abandon_batch.problem));
    when 'provider' then
      perform rowmill.note_refusal(v_batch.pipeline_id, abandon_batch.problem);
    else
      null;
  end case;
  perform rowmill.settle_money(v_batch.id);
  update rowmill.batch_processing_details as b
  set
    state = 'abandoned', done_at = now(), owner = null, lease_until = null, problem = abandon_batch.problem,
    sweep_at = case when abandon_batch.may_have_left then now() end
  where b.id = v_batch.id;
  delete from rowmill.chunk_rows as r
  using rowmill.chunks as c
  where c.batch_id = v_batch.id and c.state = 'batched' and r.chunk_id = c.id;
  update rowmill.chunks as c
  set
    state = 'waiting', batch_id = null,
    -- looked at again after settings.fetch_after: whatever the provider had against it may be over then
    posted_at = now(),
    waits_for = case when abandon_batch.cause is not null then abandon_batch.cause end,
    wait_reason = case when abandon_batch.cause is not null then abandon_batch.problem end
  where c.batch_id = v_batch.id and c.state = 'batched';
  if abandon_batch.cause = 'tokens' then
    perform rowmill.note_full_queue(v_batch.model, v_batch.reserved_tokens);
  end if;
  return true;
end;
$$;
comment on function rowmill.abandon_batch(bigint, text, text, boolean, text) is
  'preparing -> abandoned, its chunks waiting again and its reservation ended: for an intent of which it is certain that the provider holds no batch.';
revoke all on function rowmill.abandon_batch(bigint, text, text, boolean, text) from public;

-- API: internal
create function rowmill.stop_pipeline(pipeline_id bigint, reason text)
returns void
language sql
set search_path = ''
as $$
  update rowmill.pipelines as p
  set state = 'paused', state_reason = format('%s Once it is mended: select rowmill.resume_pipeline(%L);', stop_pipeline.reason, p.name)
  where p.id = stop_pipeline.pipeline_id and p.state = 'active';
$$;
comment on function rowmill.stop_pipeline(bigint, text) is 'Pauses a pipeline that would only go on to fail, with the reason and what to do.';
revoke all on function rowmill.stop_pipeline(bigint, text) from public;
