-- API: internal
create or replace function rowmill.oldest_unread(pipeline_id bigint)
returns bigint
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select least(
    (
      select min(coalesce(k.first_entry, k.id))
      from rowmill.pending_keys as k
      where k.pipeline_id = oldest_unread.pipeline_id
    ),
    (
      select min(c.oldest_entry)
      from rowmill.chunks as c
      where c.pipeline_id = oldest_unread.pipeline_id and c.state in ('waiting', 'accepted')
    ),
    (
      -- It may be given up yet, and its chunks be read anew.
      select min(c.oldest_entry)
      from rowmill.batch_processing_details as b
      join rowmill.chunks as c on c.batch_id = b.id
      where b.pipeline_id = oldest_unread.pipeline_id and b.state = 'preparing'
    )
  );
$$;
comment on function rowmill.oldest_unread is
  'The lowest number in the queue of a pipeline whose rows are not read yet, or may be read again; null where there is none.';
revoke all on function rowmill.oldest_unread from public;
