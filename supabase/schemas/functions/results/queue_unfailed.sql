-- API: internal
create or replace function rowmill.queue_unfailed(
  pipeline_id bigint,
  edited jsonb, -- [{"key", …}], as edited_failures has them
  failed jsonb -- [{"key", …}]
)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  insert into rowmill.pending_keys (pipeline_id, keys, row_count, only_missing)
  select queue_unfailed.pipeline_id, jsonb_agg(d.key), count(*), true
  from (
    select e.key, (row_number() over () - 1) / 1000 as slice
    from (
      select e.value -> 'key' as key from jsonb_array_elements(queue_unfailed.edited) as e
      except
      select f.value -> 'key' from jsonb_array_elements(queue_unfailed.failed) as f
    ) as e
  ) as d
  group by d.slice;
$$;
comment on function rowmill.queue_unfailed is
  'Queues rows once more that were edited before they could fail; they are sent only if their outputs are empty still.';
revoke all on function rowmill.queue_unfailed from public;
