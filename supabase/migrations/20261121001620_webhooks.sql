-- What the provider says by webhook is a hint: the batch that it names is looked at now instead of later. What became
-- of the batch is read by that look, never from the event.
-- Workers need not stop.

create table rowmill.webhook_events (
  id text not null,
  provider_batch_id text not null,
  received_at timestamptz not null default now(),
  constraint webhook_events_pkey primary key (id)
);
alter table rowmill.webhook_events enable row level security;
create policy webhook_events_let_nobody_in on rowmill.webhook_events using (false);
comment on table rowmill.webhook_events is
  'Webhooks that were taken, so that one that comes again changes nothing. They come again for three days at the most, and are forgotten after seven.';
comment on column rowmill.webhook_events.id is 'The header webhook-id: the same each time that an event is delivered.';
comment on column rowmill.webhook_events.provider_batch_id is 'The batch that it named.';
comment on policy webhook_events_let_nobody_in on rowmill.webhook_events is 'Rowmill''s own functions run as the owner, whom no policy concerns.';
create index webhook_events_received on rowmill.webhook_events (received_at);

-- API: worker
create function rowmill.note_webhook(
  webhook_id text,
  provider_batch_id text -- the provider's id, e.g. batch_abc123
)
returns text
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
begin
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
comment on function rowmill.note_webhook(text, text) is
  'The provider says by webhook that a batch has ended. "due": noted, and the batch, if it still runs, is due for a look. "known": this webhook was taken before. "unknown": there is no such batch; nothing is noted, so that the next delivery counts.';
revoke all on function rowmill.note_webhook(text, text) from public;

-- API: internal
create function rowmill.forget_webhooks()
returns integer
language plpgsql
set search_path = ''
as $$
declare
  v_forgotten integer;
begin
  delete from rowmill.webhook_events as e
  where e.id = any (array(
    select o.id
    from rowmill.webhook_events as o
    where o.received_at < now() - interval '7 days'
    order by o.received_at
    limit 1000
    for update skip locked
  ));
  get diagnostics v_forgotten = row_count;
  return v_forgotten;
end;
$$;
comment on function rowmill.forget_webhooks() is
  'Forgets a thousand webhooks that came more than seven days ago; returns how many those were. Two at once take different ones.';
revoke all on function rowmill.forget_webhooks() from public;
