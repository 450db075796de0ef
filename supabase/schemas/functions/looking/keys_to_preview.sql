-- API: internal
create or replace function rowmill.keys_to_preview(pipeline_id bigint, max_rows integer, spread boolean)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with entries as (
    select 0 as place, c.id, c.keys
    from rowmill.chunks as c
    where c.pipeline_id = keys_to_preview.pipeline_id and c.state in ('waiting', 'accepted')
    union all
    select 1, k.id, k.keys
    from rowmill.pending_keys as k
    where k.pipeline_id = keys_to_preview.pipeline_id
  ), chosen as (
    select e.place, e.id, e.keys
    from entries as e
    order by case when keys_to_preview.spread then md5(e.place || '.' || e.id) end, e.place, e.id
    limit case when keys_to_preview.spread then 50 else keys_to_preview.max_rows end
  ), keys as (
    select c.place, c.id, e.n, e.value
    from chosen as c
    cross join lateral jsonb_array_elements(c.keys) with ordinality as e(value, n)
    order by case when keys_to_preview.spread then md5(c.id || '.' || e.n) end, c.place, c.id, e.n
    limit keys_to_preview.max_rows
  )
  select jsonb_agg(k.value) from keys as k;
$$;
comment on function rowmill.keys_to_preview is
  'Keys that are queued, for preview_rows(): those that are next or, spread, some from all over the queue; null where none is.';
revoke all on function rowmill.keys_to_preview from public;
