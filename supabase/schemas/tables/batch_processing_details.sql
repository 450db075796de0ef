create table rowmill.batch_processing_details (
  -- state
  id bigint generated always as identity primary key,
  key text not null unique,
  pipeline_id bigint not null references rowmill.pipelines (id),
  pipeline_version integer not null,
  model text not null,
  endpoint text not null,
  state text not null default 'preparing',
  cancel_asked boolean not null default false,
  problem text,
  owner text,
  lease_until timestamptz,
  tries integer not null default 0,
  created_at timestamptz not null default now(),
  submitted_at timestamptz,
  ended_at timestamptz,
  done_at timestamptz,

  -- the provider's view
  provider_batch_id text unique,
  provider_status text,
  provider_errors jsonb,
  requests_completed integer not null default 0,
  requests_failed integer not null default 0,
  input_file_id text,
  output_file_id text,
  error_file_id text,
  uploaded_at timestamptz,
  polled_at timestamptz,
  poll_at timestamptz,
  gone_since timestamptz,
  sweep_at timestamptz,

  -- the harvest's position
  output_position bigint not null default 0,
  error_position bigint not null default 0,

  -- counters
  requests integer not null,
  bytes bigint not null,
  rows integer not null default 0,
  has_twins boolean not null default false,
  rows_enriched integer not null default 0,
  rows_failed integer not null default 0,
  failed_by_class jsonb not null default '{}',
  rows_stale integer not null default 0,
  rows_gone integer not null default 0,
  lines_duplicate bigint not null default 0,
  lines_unknown bigint not null default 0,

  -- money
  price rowmill.model_prices,
  raw_input_tokens bigint,
  estimated_input_tokens bigint,
  estimated_output_tokens bigint,
  estimated_usd numeric,
  reserved_tokens bigint,
  reserved_usd numeric,
  reserved_on date not null default (now() at time zone 'UTC')::date,
  billed_requests integer not null default 0,
  input_tokens bigint not null default 0,
  cached_tokens bigint not null default 0,
  output_tokens bigint not null default 0,
  reported_input_tokens bigint,
  reported_cached_tokens bigint,
  reported_output_tokens bigint,
  spent_usd numeric,
  settled_at timestamptz,

  constraint batches_state_is_known
    check (state in ('preparing', 'running', 'ended', 'harvested', 'done', 'rejected', 'abandoned')),
  constraint batches_provider_id_once_submitted
    check ((state in ('running', 'ended', 'harvested', 'done')) = (provider_batch_id is not null)),
  constraint batches_submitted_at_iff_submitted check ((provider_batch_id is not null) = (submitted_at is not null)),
  constraint batches_ended_at_iff_ended check ((state in ('ended', 'harvested', 'done')) = (ended_at is not null)),
  constraint batches_done_at_iff_over check ((state in ('done', 'rejected', 'abandoned')) = (done_at is not null)),
  constraint batches_settled_when_over
    check (state not in ('harvested', 'done', 'rejected', 'abandoned') or settled_at is not null)
);

create index batches_open on rowmill.batch_processing_details (state, poll_at)
  where state in ('preparing', 'running', 'ended', 'harvested');
create index batches_leased on rowmill.batch_processing_details (owner) where owner is not null;
create index batches_to_sweep on rowmill.batch_processing_details (sweep_at) where sweep_at is not null;
create index batches_by_pipeline on rowmill.batch_processing_details (pipeline_id);
-- Asked for with every slice of results, however long the queue and the history are.
create index batches_preparing on rowmill.batch_processing_details (pipeline_id) where state = 'preparing';
-- Each submission adds up a model's tokens in the provider's queue.
create index batches_in_queue on rowmill.batch_processing_details (model) where state in ('preparing', 'running');
-- Batches of the last hour are counted against settings.batches_per_hour.
create index batches_by_creation on rowmill.batch_processing_details (created_at);
-- The next batch is estimated from a pipeline's last ones.
create index batches_history on rowmill.batch_processing_details (pipeline_id, id) where billed_requests > 0;
-- rowmill.spending leaves these out: each sum of money reads them here.
create index batches_unpriced on rowmill.batch_processing_details (pipeline_id)
  where price is null and state not in ('rejected', 'abandoned');

alter table rowmill.batch_processing_details enable row level security;

create policy nobody_but_the_owner on rowmill.batch_processing_details using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.batch_processing_details is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.batch_processing_details is
  'Batch jobs at the provider: preparing (the intent is written, nothing confirmed), running (the provider has it), '
  'ended (terminal there, results to read), harvested (results applied, files to delete), done; '
  'rejected (the provider refused it), abandoned (never reached the provider).';
comment on column rowmill.batch_processing_details.key is
  'Our name for the batch, in the provider''s metadata: an intent whose worker died is found again by it.';
comment on column rowmill.batch_processing_details.owner is 'The lease that holds it, <worker>/<number>.';
comment on column rowmill.batch_processing_details.tries is
  'How often in a row a look at it failed, its harvest broke off where it stands, or its files could not be deleted; the next try '
  'waits longer each time.';
comment on column rowmill.batch_processing_details.gone_since is
  'Since when the provider says that it knows no such batch or file; null where it does know it.';
comment on column rowmill.batch_processing_details.sweep_at is
  'When to look at the provider for what a given-up intent may have left there; null: nothing, or no longer.';
comment on column rowmill.batch_processing_details.output_position is
  'Bytes of the output file that are applied: a harvest that broke off resumes after them.';
comment on column rowmill.batch_processing_details.error_position is 'Bytes of the error file that are applied.';
comment on column rowmill.batch_processing_details.requests is 'Lines of its file. Rows with the same input share one.';
comment on column rowmill.batch_processing_details.rows is 'Rows that wait for it.';
comment on column rowmill.batch_processing_details.has_twins is 'Whether rows of it share a request.';
comment on column rowmill.batch_processing_details.failed_by_class is 'How many of its rows failed, by error class.';
comment on column rowmill.batch_processing_details.rows_stale is 'Answers refused because their row had been edited meanwhile.';
comment on column rowmill.batch_processing_details.rows_gone is 'Answers for rows that had been deleted meanwhile.';
comment on column rowmill.batch_processing_details.price is
  'What the model cost when the batch was submitted; null: nobody knew.';
comment on column rowmill.batch_processing_details.raw_input_tokens is
  'Input tokens by the tokenizer, before what the pipeline''s history says about it.';
comment on column rowmill.batch_processing_details.estimated_output_tokens is 'null: neither the history nor a limit says.';
comment on column rowmill.batch_processing_details.reserved_tokens is
  'Input tokens that count against the model''s queue at the provider.';
comment on column rowmill.batch_processing_details.reserved_usd is
  'What it may cost at most; 0 once it is settled, null where it cannot be known.';
comment on column rowmill.batch_processing_details.reserved_on is 'The day (UTC) that its cost belongs to.';
comment on column rowmill.batch_processing_details.billed_requests is 'Lines whose usage the provider told.';
comment on column rowmill.batch_processing_details.reported_input_tokens is
  'Usage of the whole batch as the provider tells it; null: it does not. Settled by this, else by the sum of the lines.';
comment on column rowmill.batch_processing_details.spent_usd is
  'What it did cost; null until it is settled, and where no price is known.';
