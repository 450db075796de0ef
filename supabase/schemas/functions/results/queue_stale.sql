-- API: internal
create or replace function rowmill.queue_stale(
  pipeline_id bigint,
  parts rowmill.source_parts,
  unwritten jsonb -- [{"key", …}]
)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_stale integer;
begin
  -- Edited meanwhile (its trigger queued it) or deleted. One that was never enriched is queued once more,
  -- in case its trigger could not; the queue sends it only if its outputs are empty still.
  execute format(
    $sql$
    with stale as (
      select k.key from jsonb_to_recordset($1) as k(key jsonb) join %1$s as s on %2$s
    ), queued as (
      insert into rowmill.pending_keys (pipeline_id, keys, row_count, only_missing)
      select $2, jsonb_agg(stale.key), count(*), true from stale having count(*) > 0
    )
    select count(*) from stale
    $sql$,
    parts.relation, parts.key_match
  )
  into strict v_stale
  using queue_stale.unwritten, queue_stale.pipeline_id;
  return v_stale;
end;
$$;
comment on function rowmill.queue_stale is
  'Of rows whose answers were not written, how many are there and so were edited meanwhile; the others are gone.';
revoke all on function rowmill.queue_stale from public;
