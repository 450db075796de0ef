-- API: internal
create or replace function rowmill.queue_kept_keys(pipeline_id bigint)
returns integer
language sql
set search_path = pg_catalog, pg_temp
as $$
  with taken as (
    delete from rowmill.trigger_errors as e
    where e.pipeline_id = queue_kept_keys.pipeline_id and e.keys is not null
    returning e.keys
  ), queued as (
    insert into rowmill.pending_keys (pipeline_id, keys, row_count)
    select queue_kept_keys.pipeline_id, t.keys, jsonb_array_length(t.keys) from taken as t
    returning row_count
  )
  select coalesce(sum(q.row_count), 0)::integer from queued as q;
$$;
comment on function rowmill.queue_kept_keys is
  'Queues the keys that triggers could not queue and kept in trigger_errors; returns how many. A rollback gives them back.';
revoke all on function rowmill.queue_kept_keys from public;
