create table rowmill.webhook_events (
  id text primary key,
  provider_batch_id text not null,
  received_at timestamptz not null default now()
);

-- The tick deletes the oldest first.
create index webhook_events_received on rowmill.webhook_events (received_at);

alter table rowmill.webhook_events enable row level security;

create policy nobody_but_the_owner on rowmill.webhook_events using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.webhook_events is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.webhook_events is
  'Webhooks that were taken, so that one that comes again changes nothing. '
  'They come again for three days at the most, and are forgotten after seven.';
comment on column rowmill.webhook_events.id is 'The header webhook-id: the same each time that an event is delivered.';
comment on column rowmill.webhook_events.provider_batch_id is 'The batch that it named.';
