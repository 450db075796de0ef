-- API: internal
create or replace function rowmill.has_unread(pipeline_id bigint)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from rowmill.pending_keys as k where k.pipeline_id = has_unread.pipeline_id
  ) or exists (
    select from rowmill.chunks as c where c.pipeline_id = has_unread.pipeline_id and c.state in ('waiting', 'accepted')
  ) or exists (
    select from rowmill.batch_processing_details as b where b.pipeline_id = has_unread.pipeline_id and b.state = 'preparing'
  );
$$;
comment on function rowmill.has_unread is
  'Whether anything of a pipeline is queued and not read yet, or may be read again.';
revoke all on function rowmill.has_unread from public;
