-- Functions whose rows come from dynamic SQL name the columns that they fill: a type checker cannot see into the text.
-- Workers need not stop.

-- API: internal
create or replace function rowmill.read_chunk(
  chunk_id bigint,
  from_n integer default 0, -- first place in the chunk
  place_count integer default 1000 -- how many places to look at
)
returns table (n integer, hash text, input jsonb)
language plpgsql
stable
security definer -- the worker has no rights on the source table
set search_path = ''
-- An input's text, and so its hash, must not depend on whoever asks.
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
  v_chunk rowmill.chunks;
  v_parts rowmill.source_parts;
begin
  select c.* into v_chunk from rowmill.chunks as c where c.id = read_chunk.chunk_id and c.state <> 'done';
  if not found then
    return;
  end if;
  v_parts := rowmill.source_parts_of(v_chunk.pipeline_id);
  for n, hash, input in execute format(
    $sql$
    select k.n, %6$s, %1$s
    from (select p.n, $1 -> p.n as key from generate_series($2, $3) as p(n)) as k
    join %2$s as s on %3$s
    where %4$s and (not $4 or (%5$s))
    $sql$,
    v_parts.input, v_parts.relation, v_parts.key_match, v_parts.selected, v_parts.missing, v_parts.hash
  )
  using v_chunk.keys, read_chunk.from_n, least(read_chunk.from_n + read_chunk.place_count, v_chunk.row_count) - 1, v_chunk.only_missing
  loop
    return next;
  end loop;
end;
$$;

-- API: public
create or replace function rowmill.preview_rows(
  pipeline text,
  max_rows integer default 5,
  spread boolean default false -- true: from all over the queue, to judge it by; false: those that are next
)
returns table (key jsonb, hash text, input jsonb, is_queued boolean)
language plpgsql
stable
set search_path = ''
-- An input's text, and so its hash, must not depend on whoever asks.
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_parts rowmill.source_parts := rowmill.source_parts_of(v_pipeline.id);
  v_keys jsonb;
begin
  if preview_rows.max_rows is null or preview_rows.max_rows < 1 then
    raise exception using errcode = 'RM109', message = 'max_rows is not a positive number',
      detail = format('It is %s.', coalesce(preview_rows.max_rows::text, 'null')), hint = 'max_rows => 5';
  end if;
  with entries as (
    select 0 as place, c.id, c.keys
    from rowmill.chunks as c
    where c.pipeline_id = v_pipeline.id and c.state in ('waiting', 'accepted')
    union all
    select 1, k.id, k.keys
    from rowmill.pending_keys as k
    where k.pipeline_id = v_pipeline.id
  ), chosen as (
    select e.place, e.id, e.keys
    from entries as e
    order by case when preview_rows.spread then md5(e.place || '.' || e.id) end, e.place, e.id
    limit case when preview_rows.spread then 50 else preview_rows.max_rows end
  ), keys as (
    select c.place, c.id, e.n, e.value
    from chosen as c
    cross join lateral jsonb_array_elements(c.keys) with ordinality as e(value, n)
    order by case when preview_rows.spread then md5(c.id || '.' || e.n) end, c.place, c.id, e.n
    limit preview_rows.max_rows
  )
  select jsonb_agg(k.value) into v_keys from keys as k;

  if v_keys is null then
    for key, hash, input, is_queued in execute format(
      'select %1$s, %2$s, %3$s, false from %4$s as s where %5$s order by %6$s limit $1',
      v_parts.key_value, v_parts.hash, v_parts.input, v_parts.relation, v_parts.selected, v_parts.key_list
    )
    using preview_rows.max_rows
    loop
      return next;
    end loop;
  else
    for key, hash, input, is_queued in execute format(
      $sql$
      select %1$s, %2$s, %3$s, true
      from jsonb_array_elements($1) with ordinality as k(key, n)
      join %4$s as s on %5$s
      where %6$s
      order by k.n
      $sql$,
      v_parts.key_value, v_parts.hash, v_parts.input, v_parts.relation, v_parts.key_match, v_parts.selected
    )
    using v_keys
    loop
      return next;
    end loop;
  end if;
end;
$$;
