-- API: internal
create or replace function rowmill.leave_out_answered(
  pipeline_id bigint,
  chunk_id bigint,
  oldest_entry bigint, -- of the chunk: the lowest number in the queue among its keys
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
  -- Only what was queued before the answer, and only where the answer is still there: a row that was inserted anew,
  -- or whose outputs were erased, is asked for.
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
  using leave_out_answered.chunk_id, leave_out_answered.held, leave_out_answered.pipeline_id, leave_out_answered.oldest_entry;
  -- Asked for with another input, a row has no answer that still holds. Locked in one order, as failures are.
  perform
  from rowmill.answered_rows as a
  join rowmill.chunk_rows as r on md5(r.key::text) = md5(a.key::text)
  where a.pipeline_id = leave_out_answered.pipeline_id and r.chunk_id = leave_out_answered.chunk_id and r.n = any (v_held)
  order by md5(a.key::text), a.hash
  for update of a;
  delete from rowmill.answered_rows as a
  using rowmill.chunk_rows as r
  where r.chunk_id = leave_out_answered.chunk_id and r.n = any (v_held)
  and a.pipeline_id = leave_out_answered.pipeline_id and md5(a.key::text) = md5(r.key::text);
  return v_held;
end;
$$;
comment on function rowmill.leave_out_answered is
  'Of the held rows of a chunk, those whose input was not answered since it was queued; forgets the answers that their rows had before.';
revoke all on function rowmill.leave_out_answered from public;
