-- API: internal
create or replace function rowmill.backfill_sql(backfill rowmill.backfills)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts rowmill.source_parts := rowmill.source_parts_of(backfill.pipeline_id);
  v_wanted text;
  v_after text;
begin
  v_wanted := case
    when backfill.only_missing then v_parts.missing
    when backfill.version_below is not null then format(
      '(%s) or coalesce(%s(select v.version from rowmill.row_versions as v where v.pipeline_id = $4 '
      'and md5(v.key::text) = md5((%s)::text)), 1) < %s',
      v_parts.missing, v_parts.version_at || ', ', v_parts.key_value, backfill.version_below
    )
    else 'true'
  end;
  select format(
    '(%s) > (%s)', v_parts.key_list,
    string_agg(format('($1 ->> %s)::%s', k.place - 1, format_type(a.atttypid, a.atttypmod)), ', ' order by k.place)
  )
  into strict v_after
  from rowmill.pipelines as p
  cross join lateral unnest(p.key_columns) with ordinality as k(attnum, place)
  join pg_attribute as a on a.attrelid = p.source and a.attnum = k.attnum
  where p.id = backfill.pipeline_id;

  -- The slice is counted before it is thinned out: the position moves on over rows that need nothing.
  return format(
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
    v_parts.key_value, v_wanted, v_parts.key_list, v_parts.relation, case when backfill.after_key is null then 'true' else v_after end
  );
end;
$$;
comment on function rowmill.backfill_sql is
  'The statement that queues the next slice of a backfill. $1 the key that it stands at, $2 rows, $3 only_missing, $4 pipeline. It '
  'returns how many rows it saw and queued, and the last key. Raises RM201.';
revoke all on function rowmill.backfill_sql from public;
