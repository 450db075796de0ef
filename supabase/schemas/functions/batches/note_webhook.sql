-- API: worker
create or replace function rowmill.note_webhook(
  webhook_id text,
  provider_batch_id text -- the provider's id, e.g. batch_abc123
)
returns text
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
begin
  -- There is no batch of such an id, and no room for one in an index.
  if greatest(length(note_webhook.webhook_id), length(note_webhook.provider_batch_id)) > 256 then
    return 'unknown';
  end if;
  if exists (select from rowmill.webhook_events as e where e.id = note_webhook.webhook_id) then
    return 'known';
  end if;
  -- Without a record: the batch may be one whose id is about to be written, and then the next delivery must count.
  if not exists (
    select from rowmill.batch_processing_details as b where b.provider_batch_id = note_webhook.provider_batch_id
  ) then
    return 'unknown';
  end if;
  insert into rowmill.webhook_events (id, provider_batch_id)
  values (note_webhook.webhook_id, note_webhook.provider_batch_id)
  on conflict (id) do nothing;
  if not found then -- another worker was quicker
    return 'known';
  end if;
  -- Claiming moved poll_at on and recording leaves it alone. So a look that is under way, and may have seen the batch
  -- before it ended, is followed by another.
  update rowmill.batch_processing_details as b
  set poll_at = now()
  where b.provider_batch_id = note_webhook.provider_batch_id and b.state = 'running' and b.poll_at > now();
  return 'due';
end;
$$;
comment on function rowmill.note_webhook is
  'The provider says by webhook that a batch has ended. "due": noted, and the batch, if it still runs, is due for a look. "known": '
  'this webhook was taken before. "unknown": there is no such batch, or an id has more than 256 characters; '
  'nothing is noted, so that the next delivery counts.';
revoke all on function rowmill.note_webhook from public;
