-- What an operator does: endpoint, backfill, flush, pause, resume, drop. Workers need not stop.

-- API: internal
create function rowmill.pipeline_named(name text)
returns rowmill.pipelines
language plpgsql
stable
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines;
begin
  select p.* into v_pipeline from rowmill.pipelines as p where p.name = pipeline_named.name and p.state <> 'dropped';
  if not found then
    raise exception using errcode = 'RM111', message = format('there is no pipeline "%s"', pipeline_named.name),
      detail = coalesce(
        (select format('There are: %s.', string_agg(p.name, ', ' order by p.name)) from rowmill.pipelines as p where p.state <> 'dropped' having count(*) > 0),
        'There are none.'
      ),
      hint = 'select name from rowmill.pipeline_status;';
  end if;
  return v_pipeline;
end;
$$;
comment on function rowmill.pipeline_named(text) is 'A pipeline by its name. Raises RM111, with the names that there are.';
revoke all on function rowmill.pipeline_named(text) from public;

-- API: public
create function rowmill.set_endpoint(
  url text, -- where the worker is reached, e.g. https://worker.example.com; null stops posting
  secret text default null -- whsec_ and base64, the worker's ROWMILL_INGEST_SECRET; null keeps the one that is there
)
returns text
language plpgsql
set search_path = ''
as $$
declare
  v_url text := rtrim(set_endpoint.url, '/');
begin
  if v_url is not null and v_url !~ '^https?://[^/\s]+' then
    raise exception using errcode = 'RM109', message = 'the url is not an http or https address',
      detail = format('url is %L.', set_endpoint.url), hint = 'select rowmill.set_endpoint(''https://worker.example.com'', ''whsec_…'');';
  end if;
  if v_url is not null and v_url !~ '^https?://[^/]+/.' then
    v_url := v_url || '/v1/chunks';
  end if;
  if set_endpoint.secret is not null then
    begin
      if set_endpoint.secret !~ '^whsec_[A-Za-z0-9+/]+=*$' or length(decode(substr(set_endpoint.secret, 7), 'base64')) < 24 then
        raise exception using errcode = 'RM109', message = 'malformed';
      end if;
    exception when others then
      -- The secret itself is in no message: messages end in logs.
      raise exception using errcode = 'RM109', message = 'the secret is not of the form whsec_ and base64 of at least 24 bytes',
        detail = format('It has %s characters.', length(set_endpoint.secret)),
        hint = 'Make one: select ''whsec_'' || encode(sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, ''UTF8'')), ''base64'');';
    end;
    insert into rowmill.secrets (name, value)
    values ('ingest', set_endpoint.secret)
    on conflict (name) do update set value = excluded.value, changed_at = now();
  elsif v_url is not null and not exists (select from rowmill.secrets as s where s.name = 'ingest') then
    raise exception using errcode = 'RM109', message = 'there is no secret yet', detail = 'Posts are signed with it.',
      hint = 'Give it as the second argument, the same as the worker''s ROWMILL_INGEST_SECRET.';
  end if;
  update rowmill.settings set endpoint_url = v_url;
  return case
    when v_url is null then 'chunks are not posted; workers fetch them'
    when rowmill.can_post() then 'chunks are posted to ' || v_url
    else 'pg_net is not installed: chunks are not posted to ' || v_url || ', workers fetch them'
  end;
end;
$$;
comment on function rowmill.set_endpoint(text, text) is
  'Where chunks are posted and the secret that signs them; returns what follows from it. A url without a path gets /v1/chunks. Raises RM109.';
revoke all on function rowmill.set_endpoint(text, text) from public;

-- API: internal
create function rowmill.backfill_slice(pipeline_id bigint, max_rows integer)
returns integer
language plpgsql
set search_path = ''
set timezone = 'UTC' -- keys, as in the triggers
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
  v_pipeline rowmill.pipelines;
  v_backfill rowmill.backfills;
  v_parts rowmill.source_parts;
  v_after text;
  v_rows integer;
  v_queued integer;
  v_last jsonb;
begin
  select b.* into v_backfill
  from rowmill.backfills as b
  where b.pipeline_id = backfill_slice.pipeline_id and b.finished_at is null
  for update skip locked;
  if not found then
    return 0;
  end if;
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = backfill_slice.pipeline_id;
  v_parts := rowmill.source_parts_of(v_pipeline.id);

  select string_agg(format('($1 ->> %s)::%s', k.place - 1, format_type(a.atttypid, a.atttypmod)), ', ' order by k.place)
  into strict v_after
  from unnest(v_pipeline.key_columns) with ordinality as k(attnum, place)
  join pg_attribute as a on a.attrelid = v_pipeline.source and a.attnum = k.attnum;

  -- The slice is counted before it is thinned out: the position moves on over rows that need nothing.
  execute format(
    $sql$
    with slice as (
      select %1$s as key, %2$s as wanted, row_number() over (order by %3$s) as place
      from %4$s as s
      where %5$s
      order by %3$s
      limit $2
    ), wanted as (
      select w.key, w.place
      from slice as w
      where w.wanted
      and not ($3 and exists (
        select from rowmill.failures as f where f.pipeline_id = $4 and md5(f.key::text) = md5(w.key::text) and f.is_final
      ))
      and not ($3 and exists (
        select from rowmill.chunk_rows as r where r.pipeline_id = $4 and md5(r.key::text) = md5(w.key::text)
      ))
    ), queued as (
      insert into rowmill.pending_keys (pipeline_id, keys, row_count, only_missing)
      select $4, jsonb_agg(w.key order by w.place), count(*), $3
      from (select w.*, (row_number() over (order by w.place) - 1) / 1000 as entry from wanted as w) as w
      group by w.entry
      returning row_count
    )
    select
      (select count(*) from slice),
      (select coalesce(sum(q.row_count), 0) from queued as q),
      (select w.key from slice as w order by w.place desc limit 1)
    $sql$,
    v_parts.key_value,
    case when v_backfill.only_missing then v_parts.missing else 'true' end,
    v_parts.key_list,
    v_parts.relation,
    case when v_backfill.after_key is null then 'true' else format('(%s) > (%s)', v_parts.key_list, v_after) end
  )
  into strict v_rows, v_queued, v_last
  using v_backfill.after_key, backfill_slice.max_rows, v_backfill.only_missing, v_pipeline.id;

  update rowmill.backfills as b
  set
    after_key = coalesce(v_last, b.after_key),
    rows_queued = b.rows_queued + v_queued,
    finished_at = case when v_rows < backfill_slice.max_rows then clock_timestamp() end
  where b.pipeline_id = v_pipeline.id;

  if v_rows < backfill_slice.max_rows and v_backfill.only_missing then
    -- Whatever triggers missed before this began has been looked at now.
    delete from rowmill.trigger_errors as e where e.pipeline_id = v_pipeline.id and e.happened_at < v_backfill.started_at;
  end if;
  return v_queued;
end;
$$;
comment on function rowmill.backfill_slice(bigint, integer) is
  'Takes an open backfill forward by up to max_rows of the table, in the order of its key; returns how many rows it queued. A crash repeats at most the slice in hand.';
revoke all on function rowmill.backfill_slice(bigint, integer) from public;

-- API: public
create function rowmill.backfill(
  pipeline text,
  only_missing boolean default false -- true: only rows whose outputs are all null and that are nowhere in work
)
returns text
language plpgsql
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
begin
  insert into rowmill.backfills as b (pipeline_id, only_missing)
  values (v_pipeline.id, backfill.only_missing)
  on conflict (pipeline_id) do update
  set only_missing = excluded.only_missing, after_key = null, rows_queued = 0, started_at = clock_timestamp(), finished_at = null;
  return format('backfill of %s begun; select * from rowmill.pipeline_status shows how far it is', v_pipeline.name);
end;
$$;
comment on function rowmill.backfill(text, boolean) is
  'Queues the rows that are in the table already; the tick does so in slices of 10,000, and goes on after a crash. Every row that is queued is paid for; only_missing queues just those whose outputs are all null and that are not in flight, waiting or failed. A second call begins anew. Raises RM111.';
revoke all on function rowmill.backfill(text, boolean) from public;

-- API: public
create function rowmill.flush(pipeline text)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_chunk_id bigint;
  v_formed integer := 0;
begin
  if v_pipeline.state <> 'active' then
    raise exception using errcode = 'RM112', message = format('pipeline "%s" is %s', v_pipeline.name, v_pipeline.state),
      detail = coalesce(v_pipeline.state_reason, 'It was paused by hand.'), hint = format('select rowmill.resume_pipeline(%L);', v_pipeline.name);
  end if;
  loop
    v_chunk_id := rowmill.form_chunk(v_pipeline.id, true);
    exit when v_chunk_id is null;
    perform rowmill.post_chunk(v_chunk_id);
    v_formed := v_formed + 1;
  end loop;
  return v_formed;
end;
$$;
comment on function rowmill.flush(text) is 'Forms all pending keys into chunks now, an incomplete one too, without waiting for flush_after; returns how many chunks. Raises RM111, RM112 (not active).';
revoke all on function rowmill.flush(text) from public;

-- API: public
create function rowmill.pause_pipeline(pipeline text, reason text default null)
returns void
language plpgsql
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
begin
  update rowmill.pipelines as p
  set state = 'paused', state_reason = pause_pipeline.reason
  where p.id = v_pipeline.id;
end;
$$;
comment on function rowmill.pause_pipeline(text, text) is 'Sends nothing more. Rows go on being queued, and what runs at the provider is collected. Raises RM111.';
revoke all on function rowmill.pause_pipeline(text, text) from public;

-- API: public
create function rowmill.resume_pipeline(pipeline text)
returns void
language plpgsql
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
begin
  update rowmill.pipelines as p
  set state = 'active', state_reason = null, problem = null, problem_at = null, problem_by = null
  where p.id = v_pipeline.id;
end;
$$;
comment on function rowmill.resume_pipeline(text) is 'Goes on with what is queued. Raises RM111.';
revoke all on function rowmill.resume_pipeline(text) from public;

-- API: public
create function rowmill.drop_pipeline(pipeline text)
returns void
language plpgsql
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
begin
  perform rowmill.detach_triggers(v_pipeline.id);
  update rowmill.pipelines as p
  set state = 'dropped', dropped_at = now(), state_reason = null
  where p.id = v_pipeline.id;
  delete from rowmill.pending_keys as k where k.pipeline_id = v_pipeline.id;
  delete from rowmill.chunk_rows as r where r.pipeline_id = v_pipeline.id;
  delete from rowmill.failures as f where f.pipeline_id = v_pipeline.id;
  delete from rowmill.trigger_errors as e where e.pipeline_id = v_pipeline.id;
  delete from rowmill.backfills as b where b.pipeline_id = v_pipeline.id;
  -- A worker that holds one of these finds it done and lets go.
  update rowmill.chunks as c
  set state = 'done', owner = null, lease_until = null, keys = null, ended_at = now()
  where c.pipeline_id = v_pipeline.id and c.state <> 'done';
  -- Nobody waits for what still runs: it is cancelled at the provider, and its files are deleted.
  update rowmill.batch_processing_details as b
  set cancel_asked = true, poll_at = now()
  where b.pipeline_id = v_pipeline.id and b.state = 'running';
  update rowmill.batch_processing_details as b
  set state = 'harvested', owner = null, lease_until = null
  where b.pipeline_id = v_pipeline.id and b.state = 'ended';
  update rowmill.batch_processing_details as b
  set cancel_asked = true
  where b.pipeline_id = v_pipeline.id and b.state = 'preparing';
end;
$$;
comment on function rowmill.drop_pipeline(text) is
  'Takes the triggers off the table and forgets what is queued; batches that run are cancelled at the provider and their answers discarded. Columns and their contents stay. Raises RM111.';
revoke all on function rowmill.drop_pipeline(text) from public;
