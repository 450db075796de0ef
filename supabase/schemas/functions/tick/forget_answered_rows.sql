-- API: internal
create or replace function rowmill.forget_answered_rows()
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  delete from rowmill.answered_rows as d
  where d.ctid = any (array(
    select a.ctid
    from rowmill.answered_rows as a
    join (
      select r.pipeline_id, rowmill.oldest_unread(r.pipeline_id) as oldest
      from (select distinct r.pipeline_id from rowmill.answered_rows as r) as r
    ) as u on u.pipeline_id = a.pipeline_id
    where a.queue_position < coalesce(u.oldest, a.queue_position + 1)
    for update of a skip locked -- a worker is about to forget it
  ));
$$;
comment on function rowmill.forget_answered_rows is
  'Forgets rows that were answered, where nothing that was queued before the answer can ask for them again.';
revoke all on function rowmill.forget_answered_rows from public;
