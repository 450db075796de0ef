-- The schema, what an operator may set, and the secret that signs posts.
-- Workers need not stop.

create schema if not exists rowmill;
comment on schema rowmill is
  'Rowmill: insert rows, get them back enriched by an LLM at the batch price. Functions are the interface; of the tables, settings and model_prices may be edited.';
revoke all on schema rowmill from public;

create table rowmill.settings (
  only_row boolean primary key default true,
  endpoint_url text,
  post_rows boolean not null default true,
  post_max_bytes integer not null default 8000000,
  post_timeout_ms integer not null default 10000,
  repost_after interval not null default '1 minute',
  fetch_after interval not null default '20 seconds',
  lease interval not null default '2 minutes',
  adopt_after interval not null default '5 minutes',
  poll_every interval not null default '30 seconds',
  keep_files boolean not null default false,
  constraint settings_has_one_row check (only_row),
  constraint settings_endpoint_is_http check (endpoint_url ~ '^https?://'),
  constraint settings_post_max_bytes_is_positive check (post_max_bytes > 0),
  constraint settings_post_timeout_is_positive check (post_timeout_ms > 0)
);
alter table rowmill.settings enable row level security;
comment on table rowmill.settings is 'One row of settings for the installation; edit it with UPDATE. Changes hold from the next tick.';
comment on column rowmill.settings.endpoint_url is 'Where chunks are posted, e.g. https://worker.example.com/v1/chunks; null: nothing is posted, the worker fetches.';
comment on column rowmill.settings.post_rows is 'false posts the chunk''s number alone, for builds of pg_net that stall on large bodies; the worker then reads the rows.';
comment on column rowmill.settings.post_max_bytes is 'A chunk whose body would be larger is posted without its rows; the worker then reads them.';
comment on column rowmill.settings.repost_after is 'A chunk that nobody accepted is posted again after this long, doubling each time up to an hour.';
comment on column rowmill.settings.fetch_after is 'A chunk that was posted and not accepted for this long is fetched by a worker.';
comment on column rowmill.settings.lease is 'How long a worker that falls silent keeps its chunks and batches. Workers renew at every tick.';
comment on column rowmill.settings.adopt_after is 'How old an intent without a batch must be before its work is sent anew; until then it is looked up at the provider.';
comment on column rowmill.settings.poll_every is 'How often a running batch is looked at.';
comment on column rowmill.settings.keep_files is 'true leaves input, output and error files at the provider.';
insert into rowmill.settings default values;

create table rowmill.secrets (
  name text primary key,
  value text not null,
  changed_at timestamptz not null default now()
);
alter table rowmill.secrets enable row level security;
comment on table rowmill.secrets is 'Secrets, readable by their owner alone. "ingest" signs the posts to the worker.';

create table rowmill.model_prices (
  model text primary key,
  input_usd numeric not null,
  cached_input_usd numeric not null,
  output_usd numeric not null,
  batch_share numeric not null default 0.5,
  as_of date not null,
  constraint model_prices_are_not_negative
    check (input_usd >= 0 and cached_input_usd >= 0 and output_usd >= 0 and batch_share between 0 and 1)
);
alter table rowmill.model_prices enable row level security;
comment on table rowmill.model_prices is 'US dollars for a million tokens at the synchronous price; a batch costs batch_share of it. Edit freely: prices change.';
comment on column rowmill.model_prices.as_of is 'The day on which the price was looked up.';

-- Source: OpenAI's public price list. A model that is not here runs as well; its cost is then unknown, not 0.
insert into rowmill.model_prices (model, input_usd, cached_input_usd, output_usd, as_of) values
  ('gpt-4o', 2.50, 1.25, 10.00, '2026-08-01'),
  ('gpt-4o-mini', 0.15, 0.075, 0.60, '2026-08-01'),
  ('gpt-4.1', 2.00, 0.50, 8.00, '2026-08-01'),
  ('gpt-4.1-mini', 0.40, 0.10, 1.60, '2026-08-01'),
  ('gpt-4.1-nano', 0.10, 0.025, 0.40, '2026-08-01'),
  ('gpt-5', 1.25, 0.125, 10.00, '2026-08-01'),
  ('gpt-5-mini', 0.25, 0.025, 2.00, '2026-08-01'),
  ('gpt-5-nano', 0.05, 0.005, 0.40, '2026-08-01'),
  ('o3', 2.00, 0.50, 8.00, '2026-08-01'),
  ('o4-mini', 1.10, 0.275, 4.40, '2026-08-01');
