-- Rows that were enriched under an older version are asked for again, where somebody says so. Workers need not stop.

-- API: internal
create or replace function rowmill.backfill_slice(pipeline_id bigint, max_rows integer)
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
    case
      when v_backfill.only_missing then v_parts.missing
      when v_backfill.version_below is not null then format(
        '(%s) or coalesce(%s(select v.version from rowmill.row_versions as v where v.pipeline_id = $4 and md5(v.key::text) = md5((%s)::text)), 1) < %s',
        v_parts.missing, v_parts.version_at || ', ', v_parts.key_value, v_backfill.version_below
      )
      else 'true'
    end,
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

-- API: public
create or replace function rowmill.backfill(
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
  set only_missing = excluded.only_missing, version_below = null, after_key = null, rows_queued = 0, started_at = clock_timestamp(), finished_at = null;
  return format('backfill of %s begun; select * from rowmill.pipeline_status shows how far it is', v_pipeline.name);
end;
$$;

-- API: public
create function rowmill.re_enrich(
  pipeline text,
  where_version_below integer default null -- null: the current version
)
returns text
language plpgsql
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_below integer := coalesce(where_version_below, v_pipeline.version);
begin
  if v_below not between 2 and v_pipeline.version then
    raise exception using errcode = 'RM109', message = format('no version of "%s" is below %s and not the one that holds', v_pipeline.name, v_below),
      detail = format('Version %s holds; the first is 1.', v_pipeline.version),
      hint = case when v_pipeline.version = 1
        then format('Its definition is still the first; rowmill.backfill(%L) sends every row again.', v_pipeline.name)
        else format('Give 2 to %s, or nothing.', v_pipeline.version)
      end;
  end if;
  insert into rowmill.backfills as b (pipeline_id, only_missing, version_below)
  values (v_pipeline.id, false, v_below)
  on conflict (pipeline_id) do update
  set
    only_missing = false, version_below = excluded.version_below, after_key = null, rows_queued = 0,
    started_at = clock_timestamp(), finished_at = null;
  return format('rows of %s that were enriched before version %s are being queued; select * from rowmill.pipeline_status shows how far it is', v_pipeline.name, v_below);
end;
$$;
comment on function rowmill.re_enrich(text, integer) is
  'Queues the rows that were enriched under older versions than the given one, and those whose outputs are all null, to be enriched under the one that holds; a row that is under way under it is not sent twice. Every row that is queued is paid for. The tick does so in slices, as a backfill, of which there is one at a time: a second call of either begins anew. Raises RM109, RM111.';
revoke all on function rowmill.re_enrich(text, integer) from public;
