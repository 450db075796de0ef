-- API: internal
create or replace function rowmill.has_unread_that_may_repeat(pipeline_id bigint)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from rowmill.pending_keys as k where k.pipeline_id = has_unread_that_may_repeat.pipeline_id and k.may_repeat
  ) or exists (
    select
    from rowmill.chunks as c
    where c.pipeline_id = has_unread_that_may_repeat.pipeline_id and c.state in ('waiting', 'accepted') and c.may_repeat
  ) or exists (
    select
    from rowmill.batch_processing_details as b
    join rowmill.chunks as c on c.batch_id = b.id
    where b.pipeline_id = has_unread_that_may_repeat.pipeline_id and b.state = 'preparing' and c.may_repeat
  );
$$;
comment on function rowmill.has_unread_that_may_repeat is
  'The same for what may ask again for a row that somebody has asked for.';
revoke all on function rowmill.has_unread_that_may_repeat from public;
