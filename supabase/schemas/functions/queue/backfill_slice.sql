-- API: internal
create or replace function rowmill.backfill_slice(pipeline_id bigint, max_rows integer)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
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
comment on function rowmill.backfill_slice is
   'Takes an open backfill forward by up to max_rows of the table, in the order of its key; returns how many rows it queued. A crash repeats at most the slice in hand.';
revoke all on function rowmill.backfill_slice from public;
