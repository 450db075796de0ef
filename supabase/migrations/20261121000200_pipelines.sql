-- Pipelines, and where every row of work stands. Workers need not stop.

create table rowmill.pipelines (
  id bigint generated always as identity primary key,
  name text not null,
  source regclass not null,
  source_name text not null,
  key_columns smallint[] not null,
  inputs jsonb not null,
  outputs jsonb not null,
  filter text,
  filter_columns jsonb not null default '[]',
  instructions text,
  prompt text not null,
  model text not null,
  endpoint text not null,
  format text not null,
  params jsonb not null,
  response_schema json,
  chunk_size integer not null,
  flush_after interval not null,
  max_attempts integer not null,
  version integer not null default 1,
  state text not null default 'active',
  state_reason text,
  problem text,
  problem_at timestamptz,
  problem_by text,
  trigger_names text not null default '',
  created_at timestamptz not null default now(),
  dropped_at timestamptz,
  constraint pipelines_state_is_known check (state in ('active', 'paused', 'dropped')),
  constraint pipelines_dropped_at_iff_dropped check ((state = 'dropped') = (dropped_at is not null)),
  constraint pipelines_problem_has_a_finder check (problem_by in ('tick', 'worker') and (problem is null) = (problem_by is null)),
  constraint pipelines_format_is_known check (format in ('json', 'text')),
  constraint pipelines_endpoint_is_known check (endpoint in ('/v1/chat/completions', '/v1/responses')),
  constraint pipelines_chunk_size_fits_a_batch check (chunk_size between 1 and 50000),
  constraint pipelines_schema_iff_json check ((format = 'json') = (response_schema is not null))
);
create unique index pipelines_name_is_unique on rowmill.pipelines (name) where state <> 'dropped';
alter table rowmill.pipelines enable row level security;
comment on table rowmill.pipelines is 'Declared enrichments; made by create_pipeline, never edited by hand. Columns are kept by number, so that renames break nothing.';
comment on column rowmill.pipelines.source_name is 'The table''s name when it was declared: what a filter may call it.';
comment on column rowmill.pipelines.key_columns is 'Numbers (pg_attribute.attnum) of the primary key''s columns, in the key''s order.';
comment on column rowmill.pipelines.inputs is '[{"name","attnum"}]: columns that the prompt names; name is what the prompt calls it.';
comment on column rowmill.pipelines.outputs is '[{"name","attnum","encoding"}]: columns to fill; name is the property in the answer.';
comment on column rowmill.pipelines.filter_columns is '[{"name","attnum"}]: columns that the filter reads.';
comment on column rowmill.pipelines.response_schema is 'JSON Schema of an answer, as json and not jsonb: the order of its properties is the order in which a model writes them.';
comment on column rowmill.pipelines.problem is 'The last error of forming, reading or applying; null once it works again.';
comment on column rowmill.pipelines.problem_by is 'Who found it and will clear it: the tick knows nothing of a provider that refuses work, nor a worker of a post that fails.';
comment on column rowmill.pipelines.trigger_names is 'Fingerprint of the column names in the generated trigger functions; the tick writes them anew when it differs.';

-- No foreign key from here to pipelines: this table is written inside users' transactions, and a look-up
-- for each statement, or a wait for a pipeline that is being dropped, is theirs to pay.
create table rowmill.pending_keys (
  pipeline_id bigint not null,
  id bigint generated always as identity,
  keys jsonb not null,
  row_count integer not null,
  only_missing boolean not null default false,
  queued_at timestamptz not null default now(),
  xid xid8 not null default pg_current_xact_id(),
  primary key (pipeline_id, id)
) with (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.05);
alter table rowmill.pending_keys enable row level security;
comment on table rowmill.pending_keys is 'Keys that wait to be grouped into chunks: one narrow row for up to 1,000 keys of a statement.';
comment on column rowmill.pending_keys.keys is 'Row keys: a JSON array of JSON arrays, e.g. [[1],[2]].';
comment on column rowmill.pending_keys.only_missing is 'These rows are sent only if all their outputs are still null when the chunk is read.';
comment on column rowmill.pending_keys.queued_at is 'May lie in the future: a retry that waits.';
comment on column rowmill.pending_keys.xid is 'The transaction that queued them: an open transaction groups its own keys alone, so that it holds nobody else''s back.';

create table rowmill.chunks (
  id bigint generated always as identity primary key,
  pipeline_id bigint not null, -- no foreign key, as above: a statement may complete a chunk
  keys jsonb,
  row_count integer not null,
  only_missing boolean not null default false,
  state text not null default 'waiting',
  formed_at timestamptz not null default now(),
  posted_at timestamptz,
  posts integer not null default 0,
  owner text,
  lease_until timestamptz,
  batch_id bigint,
  ended_at timestamptz,
  constraint chunks_state_is_known check (state in ('waiting', 'accepted', 'batched', 'done')),
  constraint chunks_owner_iff_accepted check ((state = 'accepted') = (owner is not null and lease_until is not null)),
  constraint chunks_batch_id_when_batched check (state <> 'batched' or batch_id is not null),
  constraint chunks_ended_iff_done check ((state = 'done') = (ended_at is not null)),
  constraint chunks_keys_until_done check ((state = 'done') = (keys is null))
);
create index chunks_open on rowmill.chunks (pipeline_id, id) where state in ('waiting', 'accepted');
create index chunks_by_batch on rowmill.chunks (batch_id) where batch_id is not null;
alter table rowmill.chunks enable row level security;
comment on table rowmill.chunks is 'Up to chunk_size rows that travel together: waiting (nobody has it), accepted (a worker holds it under a lease), batched (in a batch), done.';
comment on column rowmill.chunks.keys is 'The rows'' keys; a row''s place in the array is its n.';

create table rowmill.chunk_rows (
  chunk_id bigint not null,
  n integer not null,
  pipeline_id bigint not null,
  key jsonb not null,
  hash text not null,
  primary key (chunk_id, n)
);
-- md5: a key may be longer than a B-tree entry. The unique pair of row and input is what keeps one input
-- from being in flight twice.
create unique index chunk_rows_input_in_flight_once on rowmill.chunk_rows (pipeline_id, md5(key::text), hash);
alter table rowmill.chunk_rows enable row level security;
comment on table rowmill.chunk_rows is 'The rows in flight, with the hash of the input that was sent. Written by workers, outside users'' transactions; a row goes when its outcome is known.';

create table rowmill.batch_processing_details (
  id bigint generated always as identity primary key,
  key text not null unique,
  pipeline_id bigint not null references rowmill.pipelines (id),
  pipeline_version integer not null,
  model text not null,
  endpoint text not null,
  state text not null default 'preparing',
  requests integer not null,
  bytes bigint not null,
  owner text,
  lease_until timestamptz,
  provider_batch_id text unique,
  provider_status text,
  input_file_id text,
  uploaded_at timestamptz,
  output_file_id text,
  error_file_id text,
  provider_errors jsonb,
  requests_completed integer not null default 0,
  requests_failed integer not null default 0,
  created_at timestamptz not null default now(),
  submitted_at timestamptz,
  polled_at timestamptz,
  poll_at timestamptz,
  ended_at timestamptz,
  done_at timestamptz,
  cancel_asked boolean not null default false,
  output_position bigint not null default 0,
  error_position bigint not null default 0,
  rows_enriched integer not null default 0,
  rows_failed integer not null default 0,
  rows_stale integer not null default 0,
  rows_gone integer not null default 0,
  lines_duplicate integer not null default 0,
  lines_unknown integer not null default 0,
  input_tokens bigint not null default 0,
  cached_tokens bigint not null default 0,
  output_tokens bigint not null default 0,
  problem text,
  constraint batches_state_is_known
    check (state in ('preparing', 'running', 'ended', 'harvested', 'done', 'rejected', 'abandoned')),
  constraint batches_provider_id_once_submitted
    check ((state in ('running', 'ended', 'harvested', 'done')) = (provider_batch_id is not null)),
  constraint batches_submitted_at_iff_submitted check ((provider_batch_id is not null) = (submitted_at is not null)),
  constraint batches_ended_at_iff_ended check ((state in ('ended', 'harvested', 'done')) = (ended_at is not null)),
  constraint batches_done_at_iff_over check ((state in ('done', 'rejected', 'abandoned')) = (done_at is not null))
);
create index batches_open on rowmill.batch_processing_details (state, poll_at)
  where state in ('preparing', 'running', 'ended', 'harvested');
create index batches_by_pipeline on rowmill.batch_processing_details (pipeline_id);
alter table rowmill.batch_processing_details enable row level security;
comment on table rowmill.batch_processing_details is
  'Batch jobs at the provider: preparing (the intent is written, nothing confirmed), running (the provider has it), ended (terminal there, results to read), harvested (results applied, files to delete), done; rejected (the provider refused it), abandoned (never reached the provider).';
comment on column rowmill.batch_processing_details.key is 'Our name for the batch, in the provider''s metadata: an intent whose worker died is found again by it.';
comment on column rowmill.batch_processing_details.output_position is 'Bytes of the output file that are applied: a harvest that broke off resumes after them.';
comment on column rowmill.batch_processing_details.error_position is 'Bytes of the error file that are applied.';
comment on column rowmill.batch_processing_details.rows_stale is 'Answers refused because their row had been edited meanwhile.';
comment on column rowmill.batch_processing_details.rows_gone is 'Answers for rows that had been deleted meanwhile.';

create table rowmill.failures (
  pipeline_id bigint not null references rowmill.pipelines (id) on delete cascade,
  key jsonb not null,
  hash text,
  error_class text not null,
  code text,
  message text not null,
  attempts integer not null,
  is_final boolean not null,
  batch_id bigint,
  first_at timestamptz not null default now(),
  last_at timestamptz not null default now()
);
create unique index failures_one_for_each_row on rowmill.failures (pipeline_id, md5(key::text));
alter table rowmill.failures enable row level security;
comment on table rowmill.failures is 'The last failure of each row that failed and has not succeeded since; not final while it is being tried again. Users read the view row_failures.';

-- Written inside users' transactions, hence inserts only: an upsert could wait for another session.
create table rowmill.trigger_errors (
  pipeline_id bigint not null,
  sqlstate text not null,
  message text not null,
  keys_lost boolean not null,
  happened_at timestamptz not null default clock_timestamp()
);
create index trigger_errors_by_pipeline on rowmill.trigger_errors (pipeline_id, happened_at);
alter table rowmill.trigger_errors enable row level security;
comment on table rowmill.trigger_errors is 'What went wrong in a trigger.';
comment on column rowmill.trigger_errors.keys_lost is
  'true: keys could not be queued; backfill(pipeline, only_missing => true) finds the rows, and clears these when it is through. false: a chunk could not be formed or posted on the spot, which the tick does, and clears.';

create table rowmill.backfills (
  pipeline_id bigint primary key references rowmill.pipelines (id) on delete cascade,
  only_missing boolean not null,
  after_key jsonb,
  rows_queued bigint not null default 0,
  started_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz
);
alter table rowmill.backfills enable row level security;
comment on table rowmill.backfills is 'The last backfill of each pipeline; the tick takes it forward a slice at a time, from after_key in the order of the primary key.';

create table rowmill.workers (
  id text primary key,
  version text not null,
  started_at timestamptz not null default now(),
  seen_at timestamptz not null default now()
);
alter table rowmill.workers enable row level security;
comment on table rowmill.workers is 'Workers that ticked within the last day; seen_at is the last time.';
