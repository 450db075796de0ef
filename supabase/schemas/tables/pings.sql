create table rowmill.pings (
  id bigint generated always as identity primary key,
  purpose text not null,
  aim text,
  request_id bigint,
  bytes integer,
  sent_at timestamptz not null default clock_timestamp(),
  constraint pings_purpose_is_known check (purpose in ('doctor', 'ring')),
  constraint pings_bytes_once_posted check ((request_id is null) = (bytes is null))
);

alter table rowmill.pings enable row level security;

create policy nobody_but_the_owner on rowmill.pings using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.pings is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.pings is 'The last hundred pings, with pg_net''s numbers for them. Their owner alone sees them.';
comment on column rowmill.pings.purpose is 'doctor: to look at the answer; ring: to wake a worker that was scaled to zero.';
comment on column rowmill.pings.aim is
  'Where it went and under which secret, as rowmill.ping_aim() had it: an answer from elsewhere says nothing about here.';
comment on column rowmill.pings.request_id is
  'The id in net._http_response, once there is an answer. After a crash pg_net may count from 1 again: times tell them apart.';
comment on column rowmill.pings.bytes is 'How long the body was.';
