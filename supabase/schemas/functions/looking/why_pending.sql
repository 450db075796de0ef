-- API: internal
create or replace function rowmill.why_pending(pipeline rowmill.pipelines, key jsonb, failure rowmill.failures)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when (why_pending.pipeline).state = 'paused' then
      format('It is queued; the pipeline is paused. %s',
        coalesce((why_pending.pipeline).state_reason, 'resume_pipeline goes on.'))
    when (why_pending.failure).attempts = 0 then
      format('It was sent in vain, which was no attempt (%s: %s), and is queued again.',
        (why_pending.failure).error_class, (why_pending.failure).message)
    when (why_pending.failure).message is not null then
      format('It failed at its attempt %s of %s (%s: %s) and is queued again.',
        (why_pending.failure).attempts, (why_pending.pipeline).max_attempts,
        (why_pending.failure).error_class, (why_pending.failure).message)
    else format('It is queued; a chunk forms at %s rows or after %s.',
      (why_pending.pipeline).chunk_size, (why_pending.pipeline).flush_after)
  end
  where exists (
    select
    from rowmill.pending_keys as p
    where p.pipeline_id = (why_pending.pipeline).id
    and exists (select from jsonb_array_elements(p.keys) as k(key) where k.key = why_pending.key)
  );
$$;
comment on function rowmill.why_pending is
  'Why a row is queued and in no chunk yet; null where it is not queued.';
revoke all on function rowmill.why_pending from public;
