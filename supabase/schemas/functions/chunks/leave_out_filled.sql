-- API: internal
create or replace function rowmill.leave_out_filled(
  pipeline_id bigint,
  chunk_id bigint,
  held integer[] -- places in the chunk
)
returns integer[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts rowmill.source_parts := rowmill.source_parts_of(pipeline_id);
  v_held integer[];
begin
  -- An answer may have been written since the rows were read. Now that they are held, none can be on its way.
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
  using leave_out_filled.chunk_id, leave_out_filled.held;
  return v_held;
end;
$$;
comment on function rowmill.leave_out_filled is
  'Of the held rows of a chunk, those that lack outputs.';
revoke all on function rowmill.leave_out_filled from public;
