-- Rowmill 0.1.0. Generated from supabase/schemas/ by npm run sql: edit a file there and run it again.
-- The order of the functions is that of their names, so their bodies are looked at when they run.
set check_function_bodies = off;
-- What views, checks and indexes name is found by it, for good: nobody else may have put something before it.
set search_path = pg_catalog, pg_temp;

-- The two blocks read the system catalogs alone: all else may be a stranger's. They refuse a schema that is in use, so this
-- file can be part of the first version's migration and of no other.
do $$
declare
  v_encoding text;
begin
  v_encoding := current_setting('server_encoding');
  if v_encoding <> 'UTF8' then
    raise exception using
      errcode = 'feature_not_supported',
      message = format('Rowmill expects a database with encoding UTF8, and %I has %s', current_database(), v_encoding),
      detail = 'Rows, prompts and answers may contain any character. Nothing was changed.',
      hint = 'Create a database with that encoding and move your tables there: create database app encoding ''UTF8'' template template0;';
  end if;
end;
$$;

do $$
declare
  v_schema pg_namespace;
  v_owner text;
  v_creators text;
  v_objects text[];
begin
  select n.* into v_schema from pg_namespace as n where n.nspname = 'rowmill';
  if not found then
    -- Without "if not exists": one that a stranger makes at this moment is an error, too.
    create schema rowmill;
    return;
  end if;

  v_owner := pg_get_userbyid(v_schema.nspowner);
  if v_owner <> current_user then
    raise exception using
      errcode = 'object_not_in_prerequisite_state',
      message = format('schema rowmill exists, and belongs to %I', v_owner),
      detail = format(
        'The owner of a schema decides which code runs in it, and that code would have the rights of %I. Nothing was changed.', current_user
      ),
      hint = format(
        'Look at what it holds. Then drop schema rowmill cascade, or migrate as %I if that is the role that owns your tables.', v_owner
      );
  end if;

  select string_agg(distinct case when a.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end, ', ')
  into v_creators
  from aclexplode(v_schema.nspacl) as a
  where a.privilege_type = 'CREATE' and a.grantee <> v_schema.nspowner;
  if v_creators is not null then
    raise exception using
      errcode = 'object_not_in_prerequisite_state',
      message = format('schema rowmill exists, and %s may create in it', v_creators),
      detail = format('What they create there would run with the rights of %I. Nothing was changed.', current_user),
      hint = format('revoke create on schema rowmill from %s;', v_creators);
  end if;

  -- Everything in a schema depends on it: tables, functions, types, default privileges.
  select array_agg(pg_describe_object(d.classid, d.objid, d.objsubid))
  into v_objects
  from pg_depend as d
  where d.refclassid = 'pg_namespace'::regclass and d.refobjid = v_schema.oid;
  if v_objects is not null then
    raise exception using
      errcode = 'object_not_in_prerequisite_state',
      message = format(
        'schema rowmill exists, and holds %s objects (%s) that this migration did not make', cardinality(v_objects), v_objects[1]
      ),
      detail = 'An unreleased version of Rowmill, another program, or this migration, run without a record of it, made them. '
        'Nothing was changed.',
      hint = 'To start from an empty schema: drop schema rowmill cascade; delete the unreleased versions (2026112100...) from '
        'supabase_migrations.schema_migrations; migrate; declare the pipelines again. Rows of your tables stay.';
  end if;
end;
$$;

comment on schema rowmill is
  'Rowmill: insert rows, get them back enriched by an LLM at the batch price. Functions are the interface; of the tables, settings and '
  'model_prices may be edited.';

revoke all on schema rowmill from public;

do $$
begin
  if not exists (select from pg_roles as r where r.rolname = 'rowmill_worker') then
    create role rowmill_worker nologin;
  end if;
exception
  -- Roles belong to the whole server: another database's migration may be making it at this moment.
  when duplicate_object or unique_violation then null;
  when insufficient_privilege then
    raise notice 'rowmill: this role may not create rowmill_worker; workers connect as the owner of schema rowmill';
end;
$$;

create type rowmill.diagnosis as ("check" text, verdict text, found text, remedy text);
comment on type rowmill.diagnosis is 'A line of doctor(): the check''s name, and its finding.';

create type rowmill.finding as (verdict text, found text, remedy text);
comment on type rowmill.finding is
  'What a check found: ok, note, warning or fault; what there is, in words; what to do, null where it is ok.';

create type rowmill.forecast as (
  input_tokens bigint, -- expected
  output_tokens bigint,
  usd numeric,
  most_tokens bigint, -- and at most
  most_usd numeric
);
comment on type rowmill.forecast is 'What a batch will use; null where that cannot be known.';

create type rowmill.money as (reserved_usd numeric, spent_usd numeric);
comment on type rowmill.money is 'Reserved and spent US dollars.';

create type rowmill.probe as (
  newest_at timestamptz,
  newest_state text,
  ping_id bigint,
  sent_at timestamptz,
  taken_at timestamptz,
  status_code integer,
  timed_out boolean,
  error_msg text,
  content text,
  content_type text,
  server_date text
);
comment on type rowmill.probe is
  'The newest of doctor()''s pings of a size (open, answered, queued: too long in pg_net''s queue, '
  'lost: neither there nor answered), and the newest answer.';

create type rowmill.room as (
  code text, -- why nothing may be submitted at all; null: something may
  reason text,
  usd numeric, -- US dollars that are left; null: no budget
  usd_reason text, -- which budget that is
  usd_comes boolean, -- more may be left once what is in flight is settled
  tokens bigint, -- of the model's queue; null: no limit known
  tokens_in_queue bigint,
  tokens_come boolean,
  batches bigint -- that may be created within the hour
);
comment on type rowmill.room is 'How much a pipeline may submit now.';

create type rowmill.source_parts as (
  relation text,
  key_match text,
  key_value text,
  key_list text,
  input text,
  hash text,
  selected text,
  missing text,
  set_list text,
  value_columns text,
  target text,
  key_columns text,
  target_keys text,
  target_columns text,
  target_values text,
  excluded_list text,
  version_at text
);
comment on type rowmill.source_parts is
  'Pieces of SQL over a source table aliased as s; made by rowmill.source_parts_of. '
  'target and what follows from it are null where the source itself is filled. '
  'Values of provenance stand for $3 batch, $4 model, $5 time and $6 version. '
  'version_at reads the version of a row''s answer, null where no column says it.';

create type rowmill.usage_history as (
  input_factor numeric, -- input tokens that the provider told, by those of the tokenizer
  tokens_per_request numeric, -- input, expected
  output_per_request numeric,
  usd_per_request numeric
);
comment on type rowmill.usage_history is 'What a pipeline''s last batches teach about the next; each null where they do not tell.';

create table rowmill.pipelines (
  id bigint generated always as identity primary key,
  name text not null,
  version integer not null default 1,
  state text not null default 'active',
  state_reason text,
  created_at timestamptz not null default now(),
  dropped_at timestamptz,

  -- which rows, and what is read of them
  source regclass not null,
  source_name text not null,
  key_columns smallint[] not null,
  inputs jsonb not null,
  filter text,
  filter_columns jsonb not null default '[]',
  filter_uses jsonb not null default '[]',
  trigger_names text not null default '',

  -- where answers go
  target regclass not null,
  target_name text not null,
  target_key_columns smallint[] not null,
  outputs jsonb not null,
  provenance jsonb not null default '[]',

  -- what is asked
  instructions text,
  prompt text not null,
  placeholder_style text not null default 'braces',
  model text not null,
  endpoint text not null,
  params jsonb not null,
  format text not null,
  response_schema json,
  own_schema json,

  -- how much at a time, and at what cost
  chunk_size integer not null,
  flush_after interval not null,
  max_attempts integer not null,
  budget_usd numeric,
  daily_budget_usd numeric,

  -- what the tick and workers note
  problem text,
  problem_at timestamptz,
  problem_by text,
  wait_until timestamptz,
  wait_reason text,
  strikes integer not null default 0,
  failed_in_row integer not null default 0,
  rows_failed_in_row integer not null default 0,
  failures_checked_to text not null default '',
  lost_keys_found bigint not null default 0,

  constraint pipelines_state_is_known check (state in ('active', 'paused', 'dropped')),
  constraint pipelines_dropped_at_iff_dropped check ((state = 'dropped') = (dropped_at is not null)),
  constraint pipelines_placeholder_style_is_known check (placeholder_style in ('braces', 'brackets')),
  constraint pipelines_endpoint_is_known check (endpoint in ('/v1/chat/completions', '/v1/responses')),
  constraint pipelines_format_is_known check (format in ('json', 'text')),
  constraint pipelines_schema_iff_json check ((format = 'json') = (response_schema is not null)),
  constraint pipelines_own_schema_is_in_force
    check (own_schema is null or (response_schema is not null and own_schema::text = response_schema::text)),
  constraint pipelines_chunk_size_fits_a_batch check (chunk_size between 1 and 50000),
  -- The upper end keeps NaN out, which is greater than everything.
  constraint pipelines_budgets_are_amounts check (budget_usd between 0 and 1e15 and daily_budget_usd between 0 and 1e15),
  constraint pipelines_problem_has_a_finder check (problem_by in ('tick', 'worker') and (problem is null) = (problem_by is null))
);

create unique index pipelines_name_is_unique on rowmill.pipelines (name) where state <> 'dropped';

alter table rowmill.pipelines enable row level security;

create policy nobody_but_the_owner on rowmill.pipelines using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.pipelines is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.pipelines is
  'Declared enrichments; made by create_pipeline, never edited by hand. '
  'Columns are kept by number, so that renames break nothing.';
comment on column rowmill.pipelines.version is
  'Counts the definitions; alter_pipeline makes the next one, and keeps this one in pipeline_versions.';
comment on column rowmill.pipelines.source_name is 'The table''s name when it was declared: what a filter may call it.';
comment on column rowmill.pipelines.key_columns is
  'Numbers (pg_attribute.attnum) of the primary key''s columns, in the key''s order.';
comment on column rowmill.pipelines.inputs is
  '[{"name","attnum"}]: columns that the prompt names; name is what the prompt calls it.';
comment on column rowmill.pipelines.filter_columns is '[{"name","attnum"}]: columns that the filter reads.';
comment on column rowmill.pipelines.trigger_names is
  'Fingerprint of the column names in the generated trigger functions; the tick writes them anew when it differs.';
comment on column rowmill.pipelines.target is
  'The table that answers are written to; the source itself, or another, which gets an upsert by the key columns.';
comment on column rowmill.pipelines.target_name is 'The target''s name when it was declared.';
comment on column rowmill.pipelines.target_key_columns is
  'Numbers of the columns in target that hold the key, in the order of key_columns.';
comment on column rowmill.pipelines.outputs is
  '[{"name","attnum","encoding"}]: columns of target to fill; name is the property in the answer.';
comment on column rowmill.pipelines.provenance is
  '[{"name","attnum","value"}]: columns of target that say where an answer came from; '
  'value is $batch_id, $model, $completed_at or $version.';
comment on column rowmill.pipelines.placeholder_style is 'How the prompt names columns: braces {{Column}}, brackets [Column].';
comment on column rowmill.pipelines.filter_uses is
  '[{"catalog","schema","name"}]: functions, operators, types and relations that the filter names, those of Postgres itself left out. '
  'Names, since a filter finds them by their names each time that it runs.';
comment on column rowmill.pipelines.response_schema is
  'JSON Schema of an answer, as json and not jsonb: the order of its properties is the order in which a model writes them.';
comment on column rowmill.pipelines.own_schema is
  'The output_schema that was given; null where response_schema is derived from the outputs.';
comment on column rowmill.pipelines.budget_usd is 'What the pipeline may cost in all; null: without limit.';
comment on column rowmill.pipelines.daily_budget_usd is 'What it may cost in a day; null: without limit.';
comment on column rowmill.pipelines.problem is
  'The last error of forming, reading or applying; null once it works again.';
comment on column rowmill.pipelines.problem_by is
  'Who found it and will clear it: the tick knows nothing of a provider that refuses work, nor a worker of a post that fails.';
comment on column rowmill.pipelines.wait_until is
  'Until when the provider is left alone, because it took no batch of this pipeline.';
comment on column rowmill.pipelines.strikes is 'How often in a row it took none; each doubles the wait, ten minutes at most.';
comment on column rowmill.pipelines.failed_in_row is 'Batches in a row under settings.breaker_pass_ratio.';
comment on column rowmill.pipelines.rows_failed_in_row is 'Rows that failed for the first time in them.';
comment on column rowmill.pipelines.failures_checked_to is
  'How far the tick has looked whether the rows of failures are still as they were: a digest of a key, in the index''s order.';
comment on column rowmill.pipelines.lost_keys_found is
  'How many of the keys that triggers lost without a trace (rowmill.lost_keys) a backfill of all rows has queued since.';

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

create policy nobody_but_the_owner on rowmill.model_prices using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.model_prices is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.model_prices is
  'US dollars for a million tokens at the synchronous price; a batch costs batch_share of it. Edit freely: prices change.';
comment on column rowmill.model_prices.as_of is 'The day on which the price was looked up.';

-- Source: OpenAI's public price list, each price as it was read on the day of as_of; it may have changed since.
-- A model that is not here runs as well; its cost is then unknown, not 0.
insert into rowmill.model_prices (model, input_usd, cached_input_usd, output_usd, as_of) values
  ('gpt-4o', 2.50, 1.25, 10.00, '2026-08-01'),
  ('gpt-4o-mini', 0.15, 0.075, 0.60, '2026-08-01'),
  ('gpt-4.1', 2.00, 0.50, 8.00, '2026-08-01'),
  ('gpt-4.1-mini', 0.40, 0.10, 1.60, '2026-08-01'),
  ('gpt-4.1-nano', 0.10, 0.025, 0.40, '2026-08-01'),
  ('gpt-5', 1.25, 0.125, 10.00, '2026-08-01'),
  ('gpt-5-mini', 0.25, 0.025, 2.00, '2026-08-01'),
  ('gpt-5-nano', 0.05, 0.005, 0.40, '2026-08-01'),
  ('gpt-5.1', 1.25, 0.125, 10.00, '2026-01-31'),
  ('gpt-5.2', 1.75, 0.175, 14.00, '2026-01-31'),
  ('gpt-5.4', 2.50, 0.25, 15.00, '2026-05-04'),
  ('gpt-5.4-mini', 0.75, 0.075, 4.50, '2026-05-04'),
  ('gpt-5.4-nano', 0.20, 0.02, 1.25, '2026-05-04'),
  ('gpt-5.5', 5.00, 0.50, 30.00, '2026-05-04'),
  ('o3', 2.00, 0.50, 8.00, '2026-08-01'),
  ('o4-mini', 1.10, 0.275, 4.40, '2026-08-01');

create table rowmill.answered_rows (
  id bigint generated always as identity primary key,
  pipeline_id bigint not null,
  key jsonb not null,
  hash text not null,
  queue_position bigint not null
);

-- md5: a key may be longer than a B-tree entry.
create index answered_rows_by_key on rowmill.answered_rows (pipeline_id, md5(key::text));

alter table rowmill.answered_rows enable row level security;

create policy nobody_but_the_owner on rowmill.answered_rows using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.answered_rows is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.answered_rows is
  'Inputs whose answers were written while something that may ask for them again was queued and unread; '
  'the tick forgets them when it no longer is.';
comment on column rowmill.answered_rows.id is 'Names the entry; a row may have several, one for each input that was answered.';
comment on column rowmill.answered_rows.queue_position is
  'The last number of the queue when the answer was written: what came later knows the answer.';

create table rowmill.backfills (
  pipeline_id bigint primary key references rowmill.pipelines (id) on delete cascade,
  only_missing boolean not null,
  version_below integer,
  after_key jsonb,
  rows_queued bigint not null default 0,
  lost_keys bigint not null default 0,
  started_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz
);

alter table rowmill.backfills enable row level security;

create policy nobody_but_the_owner on rowmill.backfills using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.backfills is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.backfills is
  'The last backfill of each pipeline; the tick takes it forward a slice at a time, from after_key in the order of the primary key.';
comment on column rowmill.backfills.version_below is
  'Only rows that were enriched under a lower version than this; null: whatever the version.';
comment on column rowmill.backfills.lost_keys is 'How often triggers had lost keys without a trace (rowmill.lost_keys) when it began.';

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

create table rowmill.chunk_rows (
  chunk_id bigint not null,
  n integer not null,
  same_as integer,
  pipeline_id bigint not null,
  key jsonb not null,
  hash text not null,
  primary key (chunk_id, n)
);

-- md5: a key may be longer than a B-tree entry. The unique pair of row and input is what keeps one input
-- from being in flight twice.
create unique index chunk_rows_input_in_flight_once on rowmill.chunk_rows (pipeline_id, md5(key::text), hash);
create index chunk_rows_twins on rowmill.chunk_rows (chunk_id, same_as) where same_as is not null;

alter table rowmill.chunk_rows enable row level security;

create policy nobody_but_the_owner on rowmill.chunk_rows using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.chunk_rows is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.chunk_rows is
  'The rows in flight, with the hash of the input that was sent. Written by workers, outside users'' transactions; '
  'a row goes when its outcome is known.';
comment on column rowmill.chunk_rows.same_as is
  'The place in the chunk of the row with the same input that is sent for this one as well; null: it is sent itself.';

create table rowmill.chunks (
  -- its rows
  id bigint generated always as identity primary key,
  -- No foreign key: a user's statement may complete a chunk, and would pay for the look-up.
  pipeline_id bigint not null,
  version integer not null default 1,
  keys jsonb,
  row_count integer not null,
  only_missing boolean not null default false,
  may_repeat boolean not null default true,
  oldest_entry bigint not null default 0,

  -- state
  state text not null default 'waiting',
  owner text,
  lease_until timestamptz,
  batch_id bigint,
  posts integer not null default 0,
  formed_at timestamptz not null default now(),
  posted_at timestamptz,
  ended_at timestamptz,

  -- what it waits for, and its file's size when it was tried
  waits_for text,
  wait_reason text,
  requests integer,
  raw_input_tokens bigint,
  max_output_tokens bigint,
  bytes bigint,

  constraint chunks_state_is_known check (state in ('waiting', 'accepted', 'batched', 'done')),
  constraint chunks_owner_iff_accepted check ((state = 'accepted') = (owner is not null and lease_until is not null)),
  constraint chunks_batch_id_when_batched check (state <> 'batched' or batch_id is not null),
  constraint chunks_ended_iff_done check ((state = 'done') = (ended_at is not null)),
  constraint chunks_keys_until_done check ((state = 'done') = (keys is null)),
  constraint chunks_wait_with_a_reason check ((waits_for is null) = (wait_reason is null)),
  constraint chunks_wait_while_waiting check (waits_for is null or state = 'waiting')
);

create index chunks_open on rowmill.chunks (pipeline_id, id) where state in ('waiting', 'accepted');
create index chunks_by_batch on rowmill.chunks (batch_id) where batch_id is not null;
create index chunks_waiting_for_room on rowmill.chunks (pipeline_id, id) where waits_for is not null;

alter table rowmill.chunks enable row level security;

create policy nobody_but_the_owner on rowmill.chunks using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.chunks is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.chunks is
  'Up to chunk_size rows that travel together: waiting (nobody has it), accepted (a worker holds it under a lease), '
  'batched (in a batch), done.';
comment on column rowmill.chunks.version is
  'The pipeline''s version when the chunk was formed. Its rows are asked for under the one that holds when they are read.';
comment on column rowmill.chunks.keys is 'The rows'' keys; a row''s place in the array is its n.';
comment on column rowmill.chunks.may_repeat is 'Whether any of its keys may have been asked for before.';
comment on column rowmill.chunks.oldest_entry is 'The lowest number in the queue among its keys.';
comment on column rowmill.chunks.owner is
  'The lease that holds it, <worker>/<number>: a worker names each claim anew, so that its own late finisher is a stranger too.';
comment on column rowmill.chunks.waits_for is
  'What a waiting chunk found no room in: budget, daily_budget, price, tokens, rate, provider, quota, paused, '
  'or turn (others wait for the same and came before); null: it has not been tried.';
comment on column rowmill.chunks.requests is
  'What its file had when it was tried: requests, tokens by the tokenizer, the sum of output limits, bytes.';

create table rowmill.failures (
  id bigint generated always as identity primary key,
  pipeline_id bigint not null references rowmill.pipelines (id) on delete cascade,
  key jsonb not null,
  hash text,
  batch_id bigint,
  error_class text not null,
  code text,
  message text not null,
  attempts integer not null,
  truncations integer not null default 0,
  is_final boolean not null,
  first_at timestamptz not null default now(),
  last_at timestamptz not null default now()
);

-- md5: a key may be longer than a B-tree entry.
create unique index failures_one_for_each_row on rowmill.failures (pipeline_id, md5(key::text));

alter table rowmill.failures enable row level security;

create policy nobody_but_the_owner on rowmill.failures using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.failures is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.failures is
  'The last failure of each row that failed and has not succeeded since; not final while it is being tried again. '
  'Users read the view row_failures.';
comment on column rowmill.failures.id is 'Names the failure; the row that failed is pipeline_id and key.';
comment on column rowmill.failures.truncations is
  'How often this input''s answer was cut off at the limit on output tokens; each time the limit is doubled for the next.';

create table rowmill.installation (
  only_row boolean primary key default true,
  applying_secret uuid not null default gen_random_uuid(),
  constraint installation_has_one_row check (only_row)
);

alter table rowmill.installation enable row level security;

create policy nobody_but_the_owner on rowmill.installation using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.installation is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.installation is 'One row of what the installation needs to know of itself; nobody edits it.';
comment on column rowmill.installation.applying_secret is
  'What the mark is made with under which answers are written (rowmill.applying_mark): a session that does not know it cannot make one.';

insert into rowmill.installation default values;

create table rowmill.locks (
  name text primary key,
  constraint locks_are_known check (name in ('reserve', 'tick'))
);

alter table rowmill.locks enable row level security;

create policy nobody_but_the_owner on rowmill.locks using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.locks is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.locks is
  'Rows that functions lock so that one of a kind works at a time; an advisory lock could be taken by anybody who may connect.';

insert into rowmill.locks (name) values ('reserve'), ('tick');

create table rowmill.model_limits (
  model text primary key,
  enqueued_tokens bigint not null,
  constraint model_limits_are_positive check (enqueued_tokens > 0)
);

alter table rowmill.model_limits enable row level security;

create policy nobody_but_the_owner on rowmill.model_limits using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.model_limits is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.model_limits is
  'Input tokens that the provider takes into its queue at a time, by model, as the limits page of your account says. '
  'Edit freely. A model that is not here is not limited until the provider says that its queue is full.';

create table rowmill.model_states (
  model text primary key,
  learned_tokens bigint,
  strikes integer not null default 0,
  blocked_until timestamptz
);

alter table rowmill.model_states enable row level security;

create policy nobody_but_the_owner on rowmill.model_states using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.model_states is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.model_states is
  'What the provider taught about a model''s queue: how full it was when it was too full, and until when to leave it alone.';
comment on column rowmill.model_states.learned_tokens is
  'Tokens in flight that are not passed for now: seven tenths of what was too many, a quarter more after each batch that ends well.';
comment on column rowmill.model_states.strikes is 'How often in a row the queue was full; each doubles the wait.';

-- No foreign key from here to pipelines: this table is written inside users' transactions, and a look-up
-- for each statement, or a wait for a pipeline that is being dropped, is theirs to pay.
create table rowmill.pending_keys (
  pipeline_id bigint not null,
  id bigint generated always as identity,
  keys jsonb not null,
  row_count integer not null,
  only_missing boolean not null default false,
  may_repeat boolean not null default true,
  first_entry bigint,
  queued_at timestamptz not null default now(),
  xid xid8 not null default pg_current_xact_id(),
  primary key (pipeline_id, id)
) with (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.05);

create index pending_keys_that_may_repeat on rowmill.pending_keys (pipeline_id) where may_repeat;

alter table rowmill.pending_keys enable row level security;

create policy nobody_but_the_owner on rowmill.pending_keys using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.pending_keys is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.pending_keys is
  'Keys that wait to be grouped into chunks: one narrow row for up to 1,000 keys of a statement.';
comment on column rowmill.pending_keys.keys is 'Row keys: a JSON array of JSON arrays, e.g. [[1],[2]].';
comment on column rowmill.pending_keys.only_missing is
  'These rows are sent only if all their outputs are still null when the chunk is read.';
comment on column rowmill.pending_keys.may_repeat is 'false: keys of inserted rows, which nobody can have asked for before.';
comment on column rowmill.pending_keys.first_entry is
  'Where its keys stood in the queue before they came back from a chunk; null: they are new.';
comment on column rowmill.pending_keys.queued_at is 'May lie in the future: a retry that waits.';
comment on column rowmill.pending_keys.xid is
  'The transaction that queued them: an open transaction groups its own keys alone, so that it holds nobody else''s back.';

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

create table rowmill.pipeline_versions (
  pipeline_id bigint not null references rowmill.pipelines (id) on delete cascade,
  version integer not null,
  definition json not null,
  replaced_at timestamptz not null default now(),
  primary key (pipeline_id, version)
);

alter table rowmill.pipeline_versions enable row level security;

create policy nobody_but_the_owner on rowmill.pipeline_versions using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.pipeline_versions is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.pipeline_versions is
  'Definitions that alter_pipeline replaced: batches that were sent under one end under it.';
comment on column rowmill.pipeline_versions.definition is
  'The columns of pipelines that make a version (rowmill.version_fields), as json: the order of a schema''s properties counts.';

create table rowmill.row_versions (
  id bigint generated always as identity primary key,
  pipeline_id bigint not null,
  key jsonb not null,
  version integer not null
);

-- md5: a key may be longer than a B-tree entry.
create unique index row_versions_one_for_each_row on rowmill.row_versions (pipeline_id, md5(key::text));

alter table rowmill.row_versions enable row level security;

create policy nobody_but_the_owner on rowmill.row_versions using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.row_versions is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.row_versions is
  'The version under which a row was last enriched, for pipelines that were altered; '
  'a row without an entry is of version 1. An older answer is not written over a newer one.';
comment on column rowmill.row_versions.id is 'Names the entry; the row is pipeline_id and key.';

create table rowmill.secrets (
  name text primary key,
  value text not null,
  changed_at timestamptz not null default now()
);

alter table rowmill.secrets enable row level security;

create policy nobody_but_the_owner on rowmill.secrets using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.secrets is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.secrets is 'Secrets, readable by their owner alone. "ingest" signs the posts to the worker.';

create table rowmill.settings (
  only_row boolean primary key default true,

  -- posts
  endpoint_url text,
  post_rows boolean not null default true,
  post_max_bytes integer not null default 8000000,
  post_timeout_ms integer not null default 10000,
  repost_after interval not null default '1 minute',
  fetch_after interval not null default '20 seconds',

  -- leases and retries
  lease interval not null default '2 minutes',
  adopt_after interval not null default '5 minutes',
  retry_after interval not null default '15 seconds',

  -- the provider
  poll_every interval not null default '30 seconds',
  keep_files boolean not null default false,
  batches_per_hour integer not null default 2000,

  -- money
  budget_usd numeric,
  daily_budget_usd numeric,
  max_output_tokens integer not null default 4096,

  -- the breaker
  breaker_batches integer not null default 3,
  breaker_pass_ratio numeric not null default 0.5,
  breaker_rows integer not null default 5,

  -- trust
  trusted_roles name[] not null default '{}',

  constraint settings_has_one_row check (only_row),
  constraint settings_endpoint_is_http check (endpoint_url ~ '^https?://'),
  constraint settings_post_max_bytes_is_positive check (post_max_bytes > 0),
  constraint settings_post_timeout_is_positive check (post_timeout_ms > 0),
  -- A worker sends a create within one lease of the upload. An intent that is given up sooner could be created twice.
  constraint settings_adopt_after_outlasts_lease check (adopt_after > lease),
  constraint settings_batches_per_hour_is_positive check (batches_per_hour > 0),
  constraint settings_budgets_are_not_negative check (budget_usd >= 0 and daily_budget_usd >= 0),
  constraint settings_max_output_tokens_is_positive check (max_output_tokens > 0),
  constraint settings_breaker_batches_is_positive check (breaker_batches > 0),
  constraint settings_breaker_pass_ratio_is_a_share check (breaker_pass_ratio between 0 and 1),
  constraint settings_breaker_rows_is_positive check (breaker_rows > 0)
);

alter table rowmill.settings enable row level security;

create policy nobody_but_the_owner on rowmill.settings using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.settings is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.settings is 'One row of settings for the installation; edit it with UPDATE. Changes hold from the next tick.';
comment on column rowmill.settings.endpoint_url is
  'Where chunks are posted, e.g. https://worker.example.com/v1/chunks; null: nothing is posted, the worker fetches.';
comment on column rowmill.settings.post_rows is
  'false posts the chunk''s number alone, for builds of pg_net that stall on large bodies; the worker then reads the rows.';
comment on column rowmill.settings.post_max_bytes is
  'A chunk whose body would be larger is posted without its rows; the worker then reads them.';
comment on column rowmill.settings.repost_after is
  'A chunk that nobody accepted is posted again after this long, doubling each time up to an hour.';
comment on column rowmill.settings.fetch_after is
  'A chunk that was posted and not accepted for this long is fetched by a worker.';
comment on column rowmill.settings.lease is
  'How long a worker that falls silent keeps its chunks and batches. Workers renew four times as often, every 5 seconds at least.';
comment on column rowmill.settings.adopt_after is
  'How old an intent without a batch must be before its work is sent anew; until then it is looked up at the provider.';
comment on column rowmill.settings.retry_after is
  'How long a row waits after its first failure that counts; twice as long after each further one, an hour at most.';
comment on column rowmill.settings.poll_every is
  'How often a running batch is looked at; after an hour and more, every sixtieth of its age, but at least every tenth time.';
comment on column rowmill.settings.keep_files is 'true leaves input, output and error files at the provider.';
comment on column rowmill.settings.batches_per_hour is
  'Batches that are created within an hour at most; OpenAI takes 2,000. What is beyond waits, and is packed into larger ones.';
comment on column rowmill.settings.budget_usd is
  'What all pipelines together may ever cost, in US dollars; null: no limit. What does not fit waits.';
comment on column rowmill.settings.daily_budget_usd is
  'The same for one day (UTC), by the time at which a batch is submitted.';
comment on column rowmill.settings.max_output_tokens is
  'Put into requests as the limit on output tokens where a budget holds and the pipeline''s params set none: '
  'without a limit, no batch has a highest price, and no budget could be kept.';
comment on column rowmill.settings.breaker_batches is
  'After so many batches in a row under breaker_pass_ratio a pipeline is paused.';
comment on column rowmill.settings.breaker_pass_ratio is
  'The part of a batch''s rows that must not fail; what expired or was cancelled is left out.';
comment on column rowmill.settings.breaker_rows is
  'So many different rows must have failed in those batches: one poison row, whose retries travel alone, stops no pipeline.';
comment on column rowmill.settings.trusted_roles is
  'Roles, besides Rowmill''s owner, superusers and those that may become the owner, whose triggers, types and functions may run with '
  'the owner''s rights where rows are read and answers are written. Each of them can become the owner by that.';

-- On Supabase, whose superuser is called so, these roles belong to the platform: what they own runs in everybody's tables
-- (auth.uid(), database webhooks).
insert into rowmill.settings (trusted_roles)
select case
  when exists (select from pg_catalog.pg_roles as r where r.rolname = 'supabase_admin' and r.rolsuper)
    then '{dashboard_user,supabase_auth_admin,supabase_functions_admin,supabase_storage_admin}'::name[]
  else '{}'::name[]
end;

create table rowmill.spending (
  pipeline_id bigint not null references rowmill.pipelines (id),
  day date not null,
  reserved_usd numeric not null default 0,
  spent_usd numeric not null default 0,
  primary key (pipeline_id, day)
);

alter table rowmill.spending enable row level security;

create policy nobody_but_the_owner on rowmill.spending using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.spending is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.spending is
  'Reserved and spent US dollars by pipeline and day (UTC) of submission: the sums over batch_processing_details, '
  'kept with them in the same transactions. Batches without a price are not in it.';

-- Written inside users' transactions, hence inserts only: an upsert could wait for another session. The primary key
-- begins with what is looked for, so that such an insert maintains one index and no more.
create table rowmill.trigger_errors (
  pipeline_id bigint not null,
  happened_at timestamptz not null default clock_timestamp(),
  id bigint generated always as identity,
  what text not null,
  keys jsonb,
  sqlstate text not null,
  message text not null,
  primary key (pipeline_id, happened_at, id),
  constraint trigger_errors_what_is_known check (what in ('insert', 'edit', 'chunk')),
  constraint trigger_errors_chunk_has_no_keys check (what <> 'chunk' or keys is null)
);

alter table rowmill.trigger_errors enable row level security;

create policy nobody_but_the_owner on rowmill.trigger_errors using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.trigger_errors is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.trigger_errors is 'What went wrong in a trigger.';
comment on column rowmill.trigger_errors.id is 'Tells errors of one moment apart.';
comment on column rowmill.trigger_errors.what is
  'insert, edit: the keys of such rows could not be queued. chunk: a chunk could not be formed or posted on the spot, which the '
  'tick does, and clears.';
comment on column rowmill.trigger_errors.keys is
  'The keys that could not be queued, as pending_keys has them; the tick queues them, and clears the error. null for an insert: '
  'backfill(pipeline, only_missing => true) finds the rows; for an edit, whose row has its old answer still: backfill(pipeline) '
  'does. Each clears them when it is through.';

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

create table rowmill.workers (
  id text primary key,
  version text not null,
  started_at timestamptz not null default now(),
  seen_at timestamptz not null default now()
);

alter table rowmill.workers enable row level security;

create policy nobody_but_the_owner on rowmill.workers using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.workers is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.workers is 'Workers that ticked within the last day; seen_at is the last time.';

-- API: internal
create or replace function rowmill.code_run_by(classes oid[], objects oid[])
returns table (class oid, object oid)
language plpgsql -- its plan is kept
stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_owner oid;
  v_sees_all boolean; -- no policy holds for the owner
  v_tables oid[] := array(select p.object from unnest(classes, objects) as p(class, object) where p.class = 'pg_class'::regclass);
  v_types oid[] := array(select p.object from unnest(classes, objects) as p(class, object) where p.class = 'pg_type'::regclass);
begin
  select r.oid, r.rolsuper or r.rolbypassrls into strict v_owner, v_sees_all
  from pg_namespace as n join pg_roles as r on r.oid = n.nspowner
  where n.nspname = 'rowmill';

  -- What it was made with: a column its type, a trigger its function, an expression its functions and operators. What came
  -- with Postgres has no entry here. What a function does is for its owner to answer for.
  return query
  select d.refclassid, d.refobjid
  from unnest(code_run_by.classes, code_run_by.objects) as p(class, object)
  join pg_depend as d on d.classid = p.class and d.objid = p.object
  where p.class <> 'pg_proc'::regclass
  and d.refclassid in ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass, 'pg_operator'::regclass);

  -- What runs where a table is read or written. (Foreign keys are checked with the rights of the tables' owners.)
  return query
  select 'pg_trigger'::regclass::oid, t.oid from pg_trigger as t where t.tgrelid = any (v_tables) and not t.tgisinternal
  union all
  select 'pg_constraint'::regclass, c.oid from pg_constraint as c where c.conrelid = any (v_tables) and c.contype in ('c', 'x')
  union all
  select 'pg_attrdef'::regclass, a.oid from pg_attrdef as a where a.adrelid = any (v_tables)
  union all
  select 'pg_class'::regclass, i.indexrelid from pg_index as i where i.indrelid = any (v_tables)
  union all
  select 'pg_rewrite'::regclass, w.oid from pg_rewrite as w where w.ev_class = any (v_tables)
  union all
  select 'pg_policy'::regclass, y.oid
  from pg_policy as y
  join pg_class as c on c.oid = y.polrelid
  where y.polrelid = any (v_tables) and c.relrowsecurity and not v_sees_all
  and (c.relforcerowsecurity or not pg_has_role(v_owner, c.relowner, 'usage'));

  -- What runs where a value becomes one of a domain, or a text. The owner of the type at the other end may have made a cast,
  -- too, and nothing here casts to that type.
  if cardinality(v_types) > 0 then
    return query
    select 'pg_constraint'::regclass::oid, c.oid from pg_constraint as c where c.contypid = any (v_types)
    union all
    select 'pg_proc'::regclass, c.castfunc
    from pg_cast as c
    where c.castfunc <> 0 and (c.castsource = any (v_types) or c.casttarget = any (v_types))
    and rowmill.is_trusted((select t.typowner from pg_type as t where t.oid = c.castsource))
    and rowmill.is_trusted((select t.typowner from pg_type as t where t.oid = c.casttarget));
  end if;
end;
$$;
comment on function rowmill.code_run_by is
  'What these objects were made with, and what runs where rows of these tables are read or written or values of these types are made: '
  'one step of code_run_with.';
revoke all on function rowmill.code_run_by from public;

-- API: internal
create or replace function rowmill.code_run_with(
  relations oid[], -- tables that are read or written
  uses jsonb, -- what a filter names, as pipelines.filter_uses has it
  out classes oid[], -- catalogs, and of the same length
  out objects oid[] -- objects in them
)
language plpgsql -- its plans are kept: it stands before every read and write of rows
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_classes oid[]; -- what was found last
  v_objects oid[];
begin
  with recursive tables(oid) as (
    select r.oid from unnest(code_run_with.relations) as r(oid)
    union
    select i.inhrelid from tables as t join pg_inherits as i on i.inhparent = t.oid
  ), found as (
    select 'pg_class'::regclass::oid as class, t.oid as object from tables as t
    union
    select u.classid, u.objid from rowmill.objects_named(code_run_with.uses) as u where code_run_with.uses <> '[]'
  )
  select array_agg(f.class), array_agg(f.object) into v_classes, v_objects from found as f;

  classes := '{}';
  objects := '{}';
  while v_classes is not null loop
    classes := classes || v_classes;
    objects := objects || v_objects;
    select array_agg(n.class), array_agg(n.object) into v_classes, v_objects
    from (
      select n.class, n.object from rowmill.code_run_by(v_classes, v_objects) as n
      except
      select k.class, k.object from unnest(classes, objects) as k(class, object)
    ) as n;
  end loop;
end;
$$;
comment on function rowmill.code_run_with is
  'What runs, or decides what runs, where rows of these tables are read or written, as pg_depend names objects: the tables and '
  'their partitions, the types, operators, casts, domain checks, index expressions, generated columns, defaults, check constraints, '
  'rules, policies that hold for Rowmill''s owner and triggers on them, and the functions of all these. What Postgres brings along is '
  'not among them.';
revoke all on function rowmill.code_run_with from public;

-- API: internal
create or replace function rowmill.grant_to_workers()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_function record;
  v_role text;
begin
  for v_function in
    select p.oid::regprocedure as signature, p.oid in (select w.signature from rowmill.worker_functions() as w(signature)) as is_workers
    from pg_catalog.pg_proc as p
    where p.pronamespace = 'rowmill'::regnamespace
    order by p.oid
  loop
    if v_function.is_workers then
      -- The Data API gives a statement 8 seconds, and more only where the function says so. On a connection of one's own
      -- this does nothing: a running statement's time is not changed from within.
      execute format('alter function %s set statement_timeout = ''50s''', v_function.signature);
    end if;
    -- Either may be missing: a server that lets nobody create roles, one that is no Supabase.
    for v_role in
      select r.rolname from pg_catalog.pg_roles as r where r.rolname in ('rowmill_worker', 'service_role')
    loop
      if v_function.is_workers then
        execute format('grant execute on function %s to %I', v_function.signature, v_role);
      elsif pg_catalog.has_function_privilege(v_role, v_function.signature::oid, 'execute') then
        execute format('revoke execute on function %s from %I', v_function.signature, v_role);
      end if;
    end loop;
  end loop;
  for v_role in
    select r.rolname from pg_catalog.pg_roles as r where r.rolname in ('rowmill_worker', 'service_role')
  loop
    execute format('grant usage on schema rowmill to %I', v_role);
  end loop;
end;
$$;
comment on function rowmill.grant_to_workers is
  'Lets rowmill_worker and service_role, as far as they exist, call the worker''s functions and nothing else of schema rowmill. '
  'Repeats harmlessly.';
revoke all on function rowmill.grant_to_workers from public;

-- API: internal
create or replace function rowmill.has_migration_list()
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  -- Not a view: its functions would run with the reader's rights.
  select rowmill.may_read('supabase_migrations.schema_migrations') and exists (
    select
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'supabase_migrations' and c.relname = 'schema_migrations' and c.relkind = 'r'
  );
$$;
comment on function rowmill.has_migration_list is
  'Whether supabase_migrations.schema_migrations is an ordinary table of a role that is trusted, and may be read.';
revoke all on function rowmill.has_migration_list from public;

-- API: internal
create or replace function rowmill.is_trusted(role oid)
returns boolean
language plpgsql -- its plan is kept
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner oid := (select n.nspowner from pg_namespace as n where n.nspname = 'rowmill');
  v_role oid := role;
begin
  -- That role, which owns schema public, is nobody but the owner of the database.
  if v_role = 'pg_database_owner'::regrole then
    v_role := (select d.datdba from pg_database as d where d.datname = current_database());
  end if;
  -- Superusers have every role. A membership that can neither be used nor switched to makes nobody the owner; before 16 there
  -- was none of that kind.
  return exists (
    select
    from pg_roles as r
    where r.oid = v_role and (
      pg_has_role(r.oid, v_owner, 'usage')
      or pg_has_role(r.oid, v_owner, case when current_setting('server_version_num')::integer < 160000 then 'member' else 'set' end)
      or exists (select from rowmill.settings as s where r.rolname = any (s.trusted_roles))
    )
  );
end;
$$;
comment on function rowmill.is_trusted is
  'Whether code of this role may run with the rights of Rowmill''s owner: the role is the owner, a superuser, may become the owner, '
  'or stands in settings.trusted_roles. false for a role that is not there, and for 0, the public.';
revoke all on function rowmill.is_trusted from public;

-- API: internal
create or replace function rowmill.is_trusted_object(
  catalog regclass, -- pg_proc, pg_class or pg_namespace
  object oid,
  owner oid
)
returns boolean
language plpgsql -- keeps its plan: every post asks
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Who may create a trusted extension may also add functions to it: the membership says as much as its owner does.
  return (
    select rowmill.is_trusted(is_trusted_object.owner) or exists (
      select
      from pg_depend as d
      join pg_extension as e on e.oid = d.refobjid
      where d.classid = is_trusted_object.catalog
      and d.objid = is_trusted_object.object
      and d.deptype = 'e'
      and d.refclassid = 'pg_extension'::regclass
      and rowmill.is_trusted(e.extowner)
    )
  );
end;
$$;
comment on function rowmill.is_trusted_object is
  'Whether a schema, function or relation is of a role that is trusted (see is_trusted), or of an extension whose owner is trusted.';
revoke all on function rowmill.is_trusted_object from public;

-- API: internal
create or replace function rowmill.lets_strangers_in(schema oid)
returns boolean
language plpgsql -- its plan is kept
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select coalesce(bool_or(not rowmill.is_trusted(n.nspowner) or exists (
    select
    from aclexplode(n.nspacl) as a
    where a.privilege_type = 'CREATE' and not rowmill.is_trusted(a.grantee) -- 0, the public, is no role
  )), false)
  from pg_namespace as n
  where n.oid = lets_strangers_in.schema);
end;
$$;
comment on function rowmill.lets_strangers_in is 'Whether a role that is not trusted owns a schema or may create things in it.';
revoke all on function rowmill.lets_strangers_in from public;

-- API: worker
create or replace function rowmill.migration_versions()
returns setof text
language plpgsql
stable
security definer -- the worker may read nothing else in that schema
set search_path = pg_catalog, pg_temp
as $$
begin
  if not rowmill.has_migration_list() then
    raise exception using errcode = 'object_not_in_prerequisite_state',
      message = 'supabase_migrations.schema_migrations is not a table that Rowmill may trust and read',
      detail = format('Expected an ordinary table that belongs to %I or to a superuser, in a schema that does.', current_user),
      hint = 'Where there is none: npm run migrate. Where it is another role''s: drop it, or change its owner. '
        'select * from rowmill.doctor() says whose it is.';
  end if;
  return query execute 'select m.version from supabase_migrations.schema_migrations as m order by m.version';
end;
$$;
comment on function rowmill.migration_versions is
  'The versions that are applied, wherever they came from: the Supabase CLI, npm run migrate or a worker. '
  'Raises where the list is not a table of a role that is trusted.';
revoke all on function rowmill.migration_versions from public;

-- API: internal
create or replace function rowmill.objects_named(
  uses jsonb -- [{"catalog": "pg_proc" | "pg_operator" | "pg_type" | "pg_class", "schema", "name"}]
)
returns table (classid oid, objid oid)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  -- Every one of a name: an overload that came later may be the one that is called.
  select u.catalog::regclass, o.oid
  from jsonb_to_recordset(objects_named.uses) as u(catalog text, schema text, name text)
  join pg_namespace as n on n.nspname = u.schema
  cross join lateral (
    select f.oid from pg_proc as f where u.catalog = 'pg_proc' and f.pronamespace = n.oid and f.proname = u.name
    union all
    select r.oid from pg_operator as r where u.catalog = 'pg_operator' and r.oprnamespace = n.oid and r.oprname = u.name
    union all
    select t.oid from pg_type as t where u.catalog = 'pg_type' and t.typnamespace = n.oid and t.typname = u.name
    union all
    select c.oid from pg_class as c where u.catalog = 'pg_class' and c.relnamespace = n.oid and c.relname = u.name
  ) as o;
$$;
comment on function rowmill.objects_named is
  'The functions, operators, types and relations of these names, as (classid, objid) of pg_depend.';
revoke all on function rowmill.objects_named from public;

-- API: internal
create or replace function rowmill.owner_name()
returns name
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select pg_get_userbyid(n.nspowner) from pg_namespace as n where n.nspname = 'rowmill';
$$;
comment on function rowmill.owner_name is
  'The role that owns Rowmill, with whose rights rows are read and answers are written: the owner of schema rowmill.';
revoke all on function rowmill.owner_name from public;

-- API: internal
create or replace function rowmill.owner_path()
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner oid := (select n.nspowner from pg_namespace as n where n.nspname = 'rowmill');
  v_setting text;
begin
  -- In the order in which Postgres has them: the role's before the database's, this database's before all databases'.
  select substr(c.setting, length('search_path=') + 1) into v_setting
  from pg_db_role_setting as s
  join pg_database as d on d.datname = current_database() and s.setdatabase in (0, d.oid)
  cross join lateral unnest(s.setconfig) as c(setting)
  where s.setrole in (0, v_owner) and starts_with(c.setting, 'search_path=')
  order by s.setrole <> 0 desc, s.setdatabase <> 0 desc
  limit 1;
  perform set_config('search_path', coalesce(v_setting, '"$user", public'), true);
  return (
    select concat_ws(', ', 'pg_catalog', string_agg(quote_ident(n.nspname), ', ' order by p.place), 'pg_temp')
    from unnest(current_schemas(false)) with ordinality as p(name, place)
    join pg_namespace as n on n.nspname = p.name
    where n.nspname not in ('pg_catalog', 'pg_temp') and not rowmill.lets_strangers_in(n.oid)
  );
end;
$$;
comment on function rowmill.owner_path is
  'The search_path of a session of Rowmill''s owner, as roles and databases are set up, with pg_catalog first and pg_temp last, for '
  'triggers that name things without their schema. It is never the caller''s, and leaves out schemas in which others may create.';
revoke all on function rowmill.owner_path from public;

-- API: internal
create or replace function rowmill.trust_problem(
  tables regclass[],
  filter_uses jsonb -- as pipelines has it
)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_untrusted text := rowmill.untrusted_code(tables::oid[], filter_uses);
begin
  return format(
    '%s, and would run with the rights of %I, which owns Rowmill: rows are neither read nor written. Give it to %2$I, take it away, '
    'or trust its owner with all that %2$I may do (rowmill.settings.trusted_roles)',
    v_untrusted, rowmill.owner_name()
  )
  where v_untrusted is not null;
end;
$$;
comment on function rowmill.trust_problem is
  'Whose code would run with the rights of Rowmill''s owner where these tables are read or written, and what to do, in words; null '
  'where nobody''s would.';
revoke all on function rowmill.trust_problem from public;

-- API: internal
create or replace function rowmill.untrusted_code(
  relations oid[], -- tables that are read or written
  uses jsonb -- what a filter names, as pipelines.filter_uses has it
)
returns text
language plpgsql -- its plan is kept: it stands before every read and write of rows
stable
set search_path = pg_catalog, pg_temp
-- For what it calls, too: each step is a look into an index; how large catalogs are, their statistics often do not say.
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_owner oid := (select n.nspowner from pg_namespace as n where n.nspname = 'rowmill');
  v_untrusted text;
begin
  select format('%s belongs to %I', pg_describe_object(o.class, o.object, 0), r.rolname) into v_untrusted
  from (
    select
      p.class, p.object,
      case p.class
        when 'pg_class'::regclass then (select c.relowner from pg_class as c where c.oid = p.object and c.relkind not in ('i', 'I', 'S'))
        when 'pg_proc'::regclass then (select f.proowner from pg_proc as f where f.oid = p.object)
        when 'pg_type'::regclass then (select t.typowner from pg_type as t where t.oid = p.object)
        when 'pg_operator'::regclass then (select r.oprowner from pg_operator as r where r.oid = p.object)
      end as role
    from rowmill.code_run_with(untrusted_code.relations, untrusted_code.uses) as f
    cross join lateral unnest(f.classes, f.objects) as p(class, object)
  ) as o
  join pg_roles as r on r.oid = o.role
  where o.role <> v_owner and not rowmill.is_trusted(o.role)
  limit 1;
  return v_untrusted;
end;
$$;
comment on function rowmill.untrusted_code is
  'Code of a role that is not trusted which would run with the rights of Rowmill''s owner where rows of these tables are read or '
  'written, in words ("function a.f() belongs to b"); null where there is none.';
revoke all on function rowmill.untrusted_code from public;

-- API: internal
create or replace function rowmill.worker_functions()
returns setof regprocedure
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  -- A migration that makes one of them anew, or a new one, calls grant_to_workers() afterwards.
  select p.oid::regprocedure
  from pg_proc as p
  where p.pronamespace = 'rowmill'::regnamespace
  and p.proname in (
    'abandon_batch', 'apply_results', 'begin_batch', 'claim_chunk', 'claim_due_polls', 'claim_ended_batches',
    'claim_stale_intents', 'claim_sweeps', 'claim_work', 'close_chunk', 'doctor', 'finish_batch', 'finish_harvest',
    'finish_sweep', 'get_pipeline', 'hold_back_chunks', 'hold_rows', 'knows_secret', 'let_go_of_batch', 'migration_versions',
    'note_gone_file', 'note_input_file', 'note_pipeline_problem', 'note_poll_problem', 'note_webhook', 'probes_under_way',
    'read_chunk', 'record_polls', 'refuse_rows', 'refuse_unread_rows', 'reject_batch', 'release_chunk', 'renew_leases',
    'start_batch', 'tick'
  );
$$;
comment on function rowmill.worker_functions is
  'All that a worker calls, and so all that its roles may call: the one list.';
revoke all on function rowmill.worker_functions from public;

-- API: worker
create or replace function rowmill.abandon_batch(
  batch_id bigint,
  worker text,
  problem text,
  may_have_left boolean, -- whether a file, or even a batch, may yet turn up at the provider
  cause text default null -- why the provider took none: 'tokens', 'quota', 'provider'; null: it did not say no
)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_batch rowmill.batch_processing_details;
begin
  select b.* into v_batch
  from rowmill.batch_processing_details as b
  where b.id = abandon_batch.batch_id and b.state = 'preparing' and b.owner = abandon_batch.worker
  for update;
  if not found then
    return false;
  end if;
  -- Before the money: begin_batch, too, has the pipeline first and its spending second.
  case abandon_batch.cause
    when 'quota' then
      perform rowmill.stop_pipeline(v_batch.pipeline_id,
        format('quota_exhausted: the provider says: %s More tries would only fail.', abandon_batch.problem));
    when 'provider' then
      perform rowmill.note_refusal(v_batch.pipeline_id, abandon_batch.problem);
    else
      null;
  end case;
  perform rowmill.settle_money(v_batch.id);
  update rowmill.batch_processing_details as b
  set
    state = 'abandoned', done_at = now(), owner = null, lease_until = null, problem = abandon_batch.problem,
    sweep_at = case when abandon_batch.may_have_left then now() end
  where b.id = v_batch.id;
  delete from rowmill.chunk_rows as r
  using rowmill.chunks as c
  where c.batch_id = v_batch.id and c.state = 'batched' and r.chunk_id = c.id;
  update rowmill.chunks as c
  set
    state = 'waiting', batch_id = null,
    -- looked at again after settings.fetch_after: whatever the provider had against it may be over then
    posted_at = now(),
    waits_for = case when abandon_batch.cause is not null then abandon_batch.cause end,
    wait_reason = case when abandon_batch.cause is not null then abandon_batch.problem end
  where c.batch_id = v_batch.id and c.state = 'batched';
  if abandon_batch.cause = 'tokens' then
    perform rowmill.note_full_queue(v_batch.model, v_batch.reserved_tokens);
  end if;
  return true;
end;
$$;
comment on function rowmill.abandon_batch is
  'preparing -> abandoned, its chunks waiting again and its reservation ended: '
  'for an intent of which it is certain that the provider holds no batch.';
revoke all on function rowmill.abandon_batch from public;

-- API: worker
create or replace function rowmill.begin_batch(
  worker text,
  key text, -- our name for the batch, unique
  chunk_ids bigint[],
  version integer, -- of the pipeline, that the file was written by
  requests integer,
  bytes bigint,
  raw_input_tokens bigint, -- by the tokenizer
  max_output_tokens bigint, -- the sum of the requests' own limits; null: they have none
  left_over jsonb default '[]', -- [{"c": chunk, "n"}]: rows of these chunks that found no room
  twins jsonb default '[]' -- [{"c", "n", "of"}]: rows whose answer is that of place "of"
)
returns jsonb
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_held integer;
  v_room rowmill.room;
  v_price rowmill.model_prices;
  v_forecast rowmill.forecast;
  v_waits jsonb;
begin
  select p.* into v_pipeline
  from rowmill.pipelines as p
  where p.id = (select min(c.pipeline_id) from rowmill.chunks as c where c.id = any (begin_batch.chunk_ids))
  and p.state <> 'dropped'
  for share; -- it is not altered meanwhile
  if not found then
    return jsonb_build_object('status', 'lost');
  end if;
  perform
  from rowmill.chunks as c
  where c.id = any (begin_batch.chunk_ids)
  and c.state = 'accepted' and c.owner = begin_batch.worker and c.pipeline_id = v_pipeline.id
  order by c.id
  for update;
  get diagnostics v_held = row_count;
  if v_held <> cardinality(begin_batch.chunk_ids) then
    return jsonb_build_object('status', 'lost');
  end if;
  -- A budget that was set since the file was written wants limits in it.
  if v_pipeline.version <> begin_batch.version or (begin_batch.max_output_tokens is null and rowmill.has_budget(v_pipeline.id)) then
    return jsonb_build_object('status', 'altered');
  end if;

  -- One at a time, from the look at what is left until it is taken, and committed. A row's lock: any role that connects
  -- could take an advisory lock, and nobody could submit while it holds it.
  perform from rowmill.locks as l where l.name = 'reserve' for update;
  v_price := rowmill.price_of(v_pipeline.model);
  v_room := rowmill.room_for(v_pipeline.id);
  if begin_batch.max_output_tokens is null and v_room.usd is not null then
    return jsonb_build_object('status', 'altered'); -- the installation's came while it was waited for
  end if;
  v_forecast := rowmill.forecast_of(rowmill.history_of(v_pipeline.id), v_price,
    begin_batch.requests, begin_batch.raw_input_tokens, begin_batch.max_output_tokens);
  v_waits := rowmill.why_batch_waits(v_pipeline.model, v_room, v_forecast, begin_batch.requests);
  if v_waits is not null then
    return v_waits;
  end if;

  perform rowmill.commit_durably();
  perform rowmill.requeue_left_over(v_pipeline.id, begin_batch.chunk_ids, begin_batch.left_over);
  perform rowmill.pair_twins(begin_batch.chunk_ids, begin_batch.twins);
  return jsonb_build_object('status', 'begun', 'batch_id', rowmill.write_intent(begin_batch.worker, begin_batch.key, v_pipeline.id,
    begin_batch.chunk_ids, begin_batch.requests, begin_batch.bytes, begin_batch.raw_input_tokens, v_price, v_forecast,
    has_twins => begin_batch.twins <> '[]'));
end;
$$;
comment on function rowmill.begin_batch is
  'Writes the intent of a batch over accepted chunks before anything reaches the provider, reserves what it may cost and its tokens, '
  'and queues the rows again that found no room in its file. {"status"}: "begun" with "batch_id". '
  'Else nothing is changed: "waits" with "waits_for", "reason" and "fits", how many of its requests could go; '
  '"altered": the pipeline is another one than the file was written by; '
  '"lost": it was dropped, or a chunk is not under this lease (any more).';
revoke all on function rowmill.begin_batch from public;

-- API: public
create or replace function rowmill.cancel_batch(batch_id bigint)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_state text;
begin
  update rowmill.batch_processing_details as b
  set cancel_asked = true, poll_at = case b.state when 'running' then now() else b.poll_at end
  where b.id = cancel_batch.batch_id and b.state in ('preparing', 'running')
  returning b.state into v_state;
  if found then
    return 'It is cancelled at the next look, within seconds. What was answered is collected and paid for; '
      'the other rows are queued again, unless the pipeline is paused.';
  end if;
  select b.state into v_state from rowmill.batch_processing_details as b where b.id = cancel_batch.batch_id;
  raise exception using errcode = 'RM115',
    message = case
      when v_state is null then format('there is no batch %s', coalesce(cancel_batch.batch_id::text, 'null'))
      else format('batch %s is over', cancel_batch.batch_id)
    end,
    detail = case when v_state is null then 'batch_id is Rowmill''s number, not the provider''s id.' else format('It is %s.', v_state) end,
    hint = 'select batch_id, pipeline, state from rowmill.batch_status where state in (''preparing'', ''running'');';
end;
$$;
comment on function rowmill.cancel_batch is
  'Has one batch cancelled at the provider; returns what follows. '
  'Its rows without an answer go round again without an attempt counted: pause the pipeline first to keep them from it. '
  'Raises RM115 (no such batch, or it is over).';
revoke all on function rowmill.cancel_batch from public;

-- API: public
create or replace function rowmill.cancel_pipeline(pipeline text)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_batches integer;
begin
  update rowmill.pipelines as p
  set state = 'paused', state_reason = 'It was cancelled. What was answered is collected; the rest waits in the queue.'
  where p.id = v_pipeline.id;
  update rowmill.batch_processing_details as b
  set cancel_asked = true, poll_at = case b.state when 'running' then now() else b.poll_at end
  where b.pipeline_id = v_pipeline.id and b.state in ('preparing', 'running');
  get diagnostics v_batches = row_count;
  return v_batches;
end;
$$;
comment on function rowmill.cancel_pipeline is
  'Pauses a pipeline and has all that runs cancelled; returns how many batches. What was answered, and so paid for, is collected; '
  'the other rows wait in the queue for resume_pipeline. Raises RM111.';
revoke all on function rowmill.cancel_pipeline from public;

-- API: worker
create or replace function rowmill.claim_due_polls(
  max_batches integer,
  together_from integer, -- with so many due, those that soon will be come along: one listing serves all
  again boolean default null -- false: batches that give no trouble; true: the others; null: all
)
returns table (batch_id bigint, pipeline_id bigint, provider_batch_id text, cancel_asked boolean)
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_until timestamptz := now();
  v_jitter double precision := 0.2;
  v_troubled bigint[];
begin
  -- One bad batch is no reason to distrust its neighbours; several are.
  select coalesce(array_agg(t.pipeline_id), '{}') into strict v_troubled
  from (
    select b.pipeline_id
    from rowmill.batch_processing_details as b
    where b.state = 'running' and b.problem is not null
    group by b.pipeline_id
    having count(*) >= 3
  ) as t;
  if together_from <= (
    select count(*)
    from (
      select from rowmill.batch_processing_details as b
      where b.state = 'running' and b.poll_at <= now()
      and (claim_due_polls.again is null or claim_due_polls.again = (b.problem is not null or b.pipeline_id = any (v_troubled)))
      limit claim_due_polls.together_from
    ) as due
  ) then
    -- Half of it, so that those that were looked at a moment ago stay where they are.
    select now() + s.poll_every / 2 into strict v_until from rowmill.settings as s;
    v_jitter := 0; -- they stay together
  end if;
  return query
  with found as (
    select b.id
    from rowmill.batch_processing_details as b
    where b.state = 'running' and b.poll_at <= v_until
    and (claim_due_polls.again is null or claim_due_polls.again = (b.problem is not null or b.pipeline_id = any (v_troubled)))
    order by b.poll_at
    limit claim_due_polls.max_batches
    for update skip locked
  )
  update rowmill.batch_processing_details as b
  set poll_at = now() + greatest(s.poll_every, least((now() - b.submitted_at) / 60, s.poll_every * 10))
    -- a tenth either way, so that a few batches of one import are not all asked for at once
    * (1 - v_jitter / 2 + random() * v_jitter)
  from found, rowmill.settings as s
  where b.id = found.id
  returning b.id, b.pipeline_id, b.provider_batch_id, b.cancel_asked;
end;
$$;
comment on function rowmill.claim_due_polls is
  'Running batches that are due for a look; each is due again after settings.poll_every, older ones later. Those at '
  'which a look failed, and those of a pipeline of which several did, are taken apart from the others, so that they hold up none of them.';
revoke all on function rowmill.claim_due_polls from public;

-- API: worker
create or replace function rowmill.claim_stale_intents(worker text, max_batches integer)
returns table (
  batch_id bigint,
  key text,
  pipeline_id bigint,
  input_file_id text,
  is_old boolean,
  age_seconds double precision -- since it was written: no batch of it is older, but for clocks that differ
)
language sql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
  with found as (
    select b.id
    from rowmill.batch_processing_details as b
    where b.state = 'preparing' and b.lease_until < now()
    order by b.id
    limit claim_stale_intents.max_batches
    for update skip locked
  )
  update rowmill.batch_processing_details as b
  set owner = claim_stale_intents.worker, lease_until = now() + s.lease
  from found, rowmill.settings as s
  where b.id = found.id
  -- The create cannot have been sent before the upload was noted, and that may have taken long.
  returning b.id, b.key, b.pipeline_id, b.input_file_id, coalesce(b.uploaded_at, b.created_at) < now() - s.adopt_after,
    extract(epoch from now() - b.created_at)::double precision;
$$;
comment on function rowmill.claim_stale_intents is
  'Takes intents whose worker fell silent. Each is looked up at the provider by its key: found, start_batch adopts it; '
  'not found and old enough, abandon_batch sends the work anew.';
revoke all on function rowmill.claim_stale_intents from public;

-- API: worker
create or replace function rowmill.claim_sweeps(worker text, max_batches integer)
returns table (
  batch_id bigint,
  key text,
  age_seconds double precision -- since the intent was written
)
language sql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
  with found as (
    select b.id
    from rowmill.batch_processing_details as b
    where b.sweep_at <= now() and (b.lease_until is null or b.lease_until < now())
    order by b.sweep_at
    limit claim_sweeps.max_batches
    for update skip locked
  )
  update rowmill.batch_processing_details as b
  set owner = claim_sweeps.worker, lease_until = now() + s.lease
  from found, rowmill.settings as s
  where b.id = found.id
  returning b.id, b.key, extract(epoch from now() - b.created_at)::double precision;
$$;
comment on function rowmill.claim_sweeps is
  'Takes, under a lease, given-up intents for which the provider is to be searched: for files of their name, and for batches of their key.';
revoke all on function rowmill.claim_sweeps from public;

-- API: internal
create or replace function rowmill.commit_durably()
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  -- Only where a crash could lose it: "local" and the stronger kinds stay.
  select set_config('synchronous_commit', 'on', true) where current_setting('synchronous_commit') = 'off';
$$;
comment on function rowmill.commit_durably is
  'Has this transaction on disk when its commit is answered, on a server that is set to answer earlier. '
  'For steps that something outside follows.';
revoke all on function rowmill.commit_durably from public;

-- API: internal
create or replace function rowmill.commonest_failure(batch_id bigint)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select e.key || coalesce(': ' || rtrim(left(m.message, 300), '.!') || '.', '.')
  from rowmill.batch_processing_details as b
  cross join lateral jsonb_each_text(b.failed_by_class) as e
  left join lateral (
    select f.message
    from rowmill.failures as f
    where f.pipeline_id = b.pipeline_id and f.batch_id = b.id and f.error_class = e.key
    limit 1
  ) as m on true
  where b.id = commonest_failure.batch_id and e.key not in ('batch_expired', 'batch_cancelled')
  order by e.value::integer desc, e.key
  limit 1;
$$;
comment on function rowmill.commonest_failure is
  'The commonest error class among the rows of a batch that failed, with the message of one of them. '
  'What ran out of time or was cancelled is left out.';
revoke all on function rowmill.commonest_failure from public;

-- API: worker
create or replace function rowmill.finish_sweep(
  batch_id bigint,
  worker text,
  began_seconds_ago double precision -- how long ago the search began
)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
begin
  update rowmill.batch_processing_details as b
  set
    owner = null,
    lease_until = null,
    -- A request on its way when the intent was given up may take effect later, and a list may lag behind.
    sweep_at = case
      when now() - finish_sweep.began_seconds_ago * interval '1 second' < b.done_at + s.adopt_after then b.done_at + s.adopt_after
    end
  from rowmill.settings as s
  where b.id = finish_sweep.batch_id and b.owner = finish_sweep.worker;
  return found;
end;
$$;
comment on function rowmill.finish_sweep is
  'The provider was searched and holds nothing of this intent any more. '
  'Searched once more when settings.adopt_after has passed since it was given up, if that is still to come.';
revoke all on function rowmill.finish_sweep from public;

-- API: internal
create or replace function rowmill.forget_webhooks()
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
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
comment on function rowmill.forget_webhooks is
  'Forgets a thousand webhooks that came more than seven days ago; returns how many those were. Two at once take different ones.';
revoke all on function rowmill.forget_webhooks from public;

-- API: internal
create or replace function rowmill.judge_batch(batch_id bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_batch rowmill.batch_processing_details;
  v_settings rowmill.settings;
  v_failed integer;
  v_passed integer;
  v_new integer;
  v_in_row integer;
  v_rows_in_row integer;
begin
  select b.* into strict v_batch from rowmill.batch_processing_details as b where b.id = judge_batch.batch_id;
  select s.* into strict v_settings from rowmill.settings as s;
  -- What ran out of time, was cancelled or was sent back for the sake of others says nothing about the rows or the prompt.
  select coalesce(sum(e.value::integer), 0) into strict v_failed
  from jsonb_each_text(v_batch.failed_by_class) as e
  where e.key not in ('batch_expired', 'batch_cancelled');
  v_passed := v_batch.rows_enriched + v_batch.rows_stale + v_batch.rows_gone;
  if v_failed + v_passed = 0 or v_batch.provider_status = 'failed' and v_failed < v_batch.rows then
    return;
  end if;
  if v_passed::numeric / (v_failed + v_passed) >= v_settings.breaker_pass_ratio then
    update rowmill.pipelines as p
    set failed_in_row = 0, rows_failed_in_row = 0
    where p.id = v_batch.pipeline_id and p.failed_in_row > 0;
    return;
  end if;
  select count(*) into strict v_new
  from rowmill.failures as f
  where f.pipeline_id = v_batch.pipeline_id and f.batch_id = v_batch.id and f.attempts <= 1
  and f.error_class not in ('batch_expired', 'batch_cancelled');
  -- Retries travel by themselves: that they fail again is news only where everything did.
  update rowmill.pipelines as p
  set failed_in_row = p.failed_in_row + 1, rows_failed_in_row = p.rows_failed_in_row + v_new
  where p.id = v_batch.pipeline_id and (v_new > 0 or p.failed_in_row > 0)
  returning p.failed_in_row, p.rows_failed_in_row into v_in_row, v_rows_in_row;
  if not found or v_in_row < v_settings.breaker_batches or v_rows_in_row < v_settings.breaker_rows then
    return;
  end if;
  perform rowmill.stop_pipeline(v_batch.pipeline_id,
    format('%s batches in a row failed, mostly with %s', v_in_row, rowmill.commonest_failure(v_batch.id)));
end;
$$;
comment on function rowmill.judge_batch is
  'The circuit breaker: counts batches in a row of which too many rows failed, '
  'and pauses the pipeline after settings.breaker_batches of them in which settings.breaker_rows different rows failed, '
  'with the commonest class as the reason.';
revoke all on function rowmill.judge_batch from public;

-- API: worker
create or replace function rowmill.let_go_of_batch(batch_id bigint, worker text, problem text)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
begin
  update rowmill.batch_processing_details as b
  set
    owner = null,
    problem = let_go_of_batch.problem,
    -- Doubled for each try of a harvest, 10 minutes at most.
    lease_until = now() + least(least(interval '15 seconds', s.lease) * power(2, least(b.tries, 10)), interval '10 minutes'),
    tries = b.tries + (b.state in ('ended', 'harvested') and let_go_of_batch.problem is not null)::integer
  from rowmill.settings as s
  where b.id = let_go_of_batch.batch_id and b.owner = let_go_of_batch.worker;
  return found;
end;
$$;
comment on function rowmill.let_go_of_batch is
  'Leaves a batch in the state that it is in, with what went wrong, for the next worker in a quarter of a minute (or a lease, where '
  'that is shorter). One whose harvest broke off waits longer each time; a null problem counts as no try.';
revoke all on function rowmill.let_go_of_batch from public;

-- API: worker
create or replace function rowmill.note_input_file(batch_id bigint, worker text, input_file_id text)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
begin
  update rowmill.batch_processing_details as b
  set input_file_id = note_input_file.input_file_id, uploaded_at = now(), lease_until = now() + s.lease
  from rowmill.settings as s
  where b.id = note_input_file.batch_id and b.state = 'preparing' and b.owner = note_input_file.worker;
  return found;
end;
$$;
comment on function rowmill.note_input_file is
  'Records the uploaded file; false where the intent is not this worker''s any more, which must then not create the batch.';
revoke all on function rowmill.note_input_file from public;

-- API: worker
create or replace function rowmill.note_pipeline_problem(pipeline_id bigint, problem text)
returns void
language sql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
  update rowmill.pipelines as p
  set
    problem = note_pipeline_problem.problem,
    problem_at = case when note_pipeline_problem.problem is not null then now() end,
    problem_by = case when note_pipeline_problem.problem is not null then 'worker' end
  where p.id = note_pipeline_problem.pipeline_id
  and p.problem is distinct from note_pipeline_problem.problem
  and (note_pipeline_problem.problem is not null or p.problem_by = 'worker');
$$;
comment on function rowmill.note_pipeline_problem is
  'What a worker found wrong, for pipeline_status; null, when it works again, clears what a worker found.';
revoke all on function rowmill.note_pipeline_problem from public;

-- API: worker
create or replace function rowmill.note_poll_problem(
  batch_id bigint,
  problem text,
  is_gone boolean -- the provider says that it knows no such batch
)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
begin
  update rowmill.batch_processing_details as b
  set
    problem = note_poll_problem.problem,
    gone_since = case when note_poll_problem.is_gone then coalesce(b.gone_since, now()) end,
    tries = b.tries + 1,
    -- Doubled for each look that failed, 10 minutes at most.
    poll_at = greatest(b.poll_at, now() + least(s.poll_every * power(2, least(b.tries, 10)), interval '10 minutes'))
  from rowmill.settings as s
  where b.id = note_poll_problem.batch_id and b.state = 'running';

  update rowmill.batch_processing_details as b
  set state = 'ended', provider_status = 'gone', ended_at = now()
  where b.id = note_poll_problem.batch_id and b.state = 'running'
  -- A batch runs for a day; before that is over, it could still be at work, and be asked for twice.
  and b.submitted_at < now() - interval '26 hours'
  and b.gone_since <= now() - interval '1 hour';
  return found;
end;
$$;
comment on function rowmill.note_poll_problem is
  'Why a look at a running batch failed; it stays running and is looked at again, later each time. '
  'One that the provider has not known for an hour, and whose day is over, ends without results: returns true then.';
revoke all on function rowmill.note_poll_problem from public;

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

-- API: internal
create or replace function rowmill.pair_twins(
  chunk_ids bigint[],
  twins jsonb -- [{"c": chunk, "n", "of"}]
)
returns void
language plpgsql -- unlike one in SQL, it keeps its plan from call to call
set search_path = pg_catalog, pg_temp
as $$
begin
  update rowmill.chunk_rows as r
  set same_as = t."of"
  from jsonb_to_recordset(pair_twins.twins) as t(c bigint, n integer, "of" integer)
  where r.chunk_id = any (pair_twins.chunk_ids) and r.chunk_id = t.c and r.n = t.n;
end;
$$;
comment on function rowmill.pair_twins is
  'Notes which rows in flight are answered by the request of another row of their chunk, that at place "of".';
revoke all on function rowmill.pair_twins from public;

-- API: worker
create or replace function rowmill.record_polls(
  -- [{"batch_id", "provider_status", "is_terminal", "output_file_id", "error_file_id", "requests_completed", "requests_failed",
  --   "provider_errors", "input_tokens", "cached_tokens", "output_tokens"}]; tokens are null where the provider tells none.
  -- The counts are whatever the provider, or a proxy, wrote: one that is no number counts as not told.
  polls jsonb
)
returns table (batch_id bigint, state text)
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  perform rowmill.settle_dropped(record_polls.polls);
  return query
  update rowmill.batch_processing_details as b
  set
    provider_status = r.provider_status,
    output_file_id = r.output_file_id,
    error_file_id = r.error_file_id,
    requests_completed = coalesce(rowmill.count_or_null(r.requests_completed, most => 2147483647), b.requests_completed),
    requests_failed = coalesce(rowmill.count_or_null(r.requests_failed, most => 2147483647), b.requests_failed),
    provider_errors = nullif(r.provider_errors, 'null'),
    reported_input_tokens = rowmill.count_or_null(r.input_tokens),
    reported_cached_tokens = rowmill.count_or_null(r.cached_tokens),
    reported_output_tokens = rowmill.count_or_null(r.output_tokens),
    polled_at = now(),
    gone_since = null,
    problem = null,
    tries = 0,
    state = case
      when not r.is_terminal then b.state
      when b.settled_at is not null then 'harvested'
      else 'ended'
    end,
    ended_at = case when r.is_terminal then now() end
  from jsonb_to_recordset(record_polls.polls) as r(
    batch_id bigint, provider_status text, is_terminal boolean, output_file_id text, error_file_id text,
    requests_completed jsonb, requests_failed jsonb, provider_errors jsonb,
    input_tokens jsonb, cached_tokens jsonb, output_tokens jsonb
  )
  where b.id = r.batch_id and b.state = 'running'
  returning b.id, b.state;
end;
$$;
comment on function rowmill.record_polls is
  'What the provider said of running batches; in a terminal status they move on to ended. '
  'Returns the new state of each, and none for one that another worker moved first.';
revoke all on function rowmill.record_polls from public;

-- API: worker
create or replace function rowmill.reject_batch(
  batch_id bigint, worker text, error_class text, code text, message text, retried boolean, counted boolean, noted boolean,
  delay_seconds integer default null,
  may_have_left boolean default false -- whether its file may yet be at the provider
)
returns integer
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rows integer;
begin
  perform from rowmill.batch_processing_details as b
  where b.id = reject_batch.batch_id and b.state = 'preparing' and b.owner = reject_batch.worker
  for update;
  if not found then
    return null;
  end if;
  v_rows := rowmill.settle_rest(reject_batch.batch_id, reject_batch.error_class, reject_batch.code, reject_batch.message,
    reject_batch.retried, reject_batch.counted, reject_batch.noted, reject_batch.delay_seconds);
  -- Before the money: begin_batch, too, has the pipeline first and its spending second.
  perform rowmill.judge_batch(reject_batch.batch_id);
  perform rowmill.settle_money(reject_batch.batch_id);
  update rowmill.batch_processing_details as b
  set
    rows_failed = v_rows,
    state = 'rejected', done_at = now(), owner = null, lease_until = null, problem = reject_batch.message,
    sweep_at = case when reject_batch.may_have_left then now() end
  where b.id = reject_batch.batch_id;
  return v_rows;
end;
$$;
comment on function rowmill.reject_batch is
  'preparing -> rejected: the provider refused the batch for good; each of its rows fails so. null: not under this lease.';
revoke all on function rowmill.reject_batch from public;

-- API: worker
create or replace function rowmill.renew_leases(
  worker text,
  version text,
  leases text[] -- those that this worker has in hand
)
returns table (lease_ms integer, renewed integer)
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_chunks integer;
  v_batches integer;
begin
  insert into rowmill.workers (id, version)
  values (renew_leases.worker, renew_leases.version)
  on conflict (id) do update set seen_at = now();
  delete from rowmill.workers as w where w.seen_at < now() - interval '1 day';

  update rowmill.chunks as c
  set lease_until = now() + s.lease
  from rowmill.settings as s
  where c.state = 'accepted' and c.owner = any (renew_leases.leases) and c.lease_until > now();
  get diagnostics v_chunks = row_count;

  update rowmill.batch_processing_details as b
  set lease_until = now() + s.lease
  from rowmill.settings as s
  where b.lease_until > now() and b.owner = any (renew_leases.leases);
  get diagnostics v_batches = row_count;

  return query
  select floor(extract(epoch from s.lease) * 1000)::integer, v_chunks + v_batches from rowmill.settings as s;
end;
$$;
comment on function rowmill.renew_leases is
  'Says that a worker lives and renews the leases that it names; '
  'returns how long a lease is, and how many chunks and batches stand under them. A lease that ran out is not renewed.';
revoke all on function rowmill.renew_leases from public;

-- API: internal
create or replace function rowmill.requeue_left_over(
  pipeline_id bigint,
  chunk_ids bigint[],
  left_over jsonb -- [{"c": chunk, "n"}]
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from rowmill.chunk_rows as r
  using jsonb_to_recordset(requeue_left_over.left_over) as l(c bigint, n integer)
  where r.chunk_id = any (requeue_left_over.chunk_ids) and r.chunk_id = l.c and r.n = l.n;
  insert into rowmill.pending_keys (pipeline_id, keys, row_count, only_missing, may_repeat, first_entry)
  -- They may repeat: an intent that is given up leaves them in its chunk as well.
  select requeue_left_over.pipeline_id, jsonb_agg(q.key order by q.place), count(*), q.only_missing, true, q.oldest_entry
  from (
    select c.id, c.keys -> l.n as key, l.place, c.only_missing, c.oldest_entry,
      (row_number() over (partition by c.id order by l.place) - 1) / 1000 as slice
    from rows from (jsonb_to_recordset(requeue_left_over.left_over) as (c bigint, n integer)) with ordinality as l(c, n, place)
    join rowmill.chunks as c on c.id = l.c and c.id = any (requeue_left_over.chunk_ids)
    where l.n >= 0 and l.n < c.row_count
  ) as q
  group by q.id, q.slice, q.only_missing, q.oldest_entry;
end;
$$;
comment on function rowmill.requeue_left_over is
  'Queues rows of chunks again that found no room in a batch''s file, by the thousand; they are not in flight any more.';
revoke all on function rowmill.requeue_left_over from public;

-- API: internal
create or replace function rowmill.settle_dropped(polls jsonb) -- as record_polls has them
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_batch_id bigint;
begin
  -- Nobody waits for the answers of a dropped pipeline: what they cost is settled here, and only files are left to delete.
  for v_batch_id in
    select b.id
    from jsonb_to_recordset(settle_dropped.polls) as r(batch_id bigint, is_terminal boolean)
    join rowmill.batch_processing_details as b on b.id = r.batch_id and b.state = 'running'
    join rowmill.pipelines as p on p.id = b.pipeline_id and p.state = 'dropped'
    where r.is_terminal
    order by b.id
    for update of b
  loop
    update rowmill.batch_processing_details as b
    set
      provider_status = r.provider_status,
      reported_input_tokens = rowmill.count_or_null(r.input_tokens),
      reported_cached_tokens = rowmill.count_or_null(r.cached_tokens),
      reported_output_tokens = rowmill.count_or_null(r.output_tokens)
    from jsonb_to_recordset(settle_dropped.polls)
      as r(batch_id bigint, provider_status text, input_tokens jsonb, cached_tokens jsonb, output_tokens jsonb)
    where b.id = v_batch_id and r.batch_id = b.id;
    perform rowmill.settle_money(v_batch_id);
  end loop;
end;
$$;
comment on function rowmill.settle_dropped is
  'Settles what the batches of dropped pipelines cost that the provider has ended.';
revoke all on function rowmill.settle_dropped from public;

-- API: worker
create or replace function rowmill.start_batch(
  batch_id bigint,
  provider_batch_id text,
  provider_status text,
  input_file_id text
)
returns text
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_batch rowmill.batch_processing_details;
begin
  -- More has no room in an entry of the unique index. The worker reads no batch of such an id.
  if length(start_batch.provider_batch_id) not between 1 and 256 then
    raise exception using errcode = '22023', message = 'the id of a batch has 1 to 256 characters';
  end if;
  select b.* into v_batch
  from rowmill.batch_processing_details as b
  where b.id = start_batch.batch_id
  for update;
  if v_batch.provider_batch_id is not distinct from start_batch.provider_batch_id then
    return 'known';
  end if;
  -- Before 'foreign', upon which the worker cancels the batch.
  if exists (
    select from rowmill.batch_processing_details as b where b.provider_batch_id = start_batch.provider_batch_id
  ) then
    return 'taken';
  end if;
  if v_batch.state not in ('preparing', 'rejected', 'abandoned') then
    return 'foreign';
  end if;
  begin
    update rowmill.batch_processing_details as b
    set
      state = 'running',
      provider_batch_id = start_batch.provider_batch_id,
      provider_status = start_batch.provider_status,
      input_file_id = coalesce(b.input_file_id, start_batch.input_file_id),
      submitted_at = now(),
      poll_at = now(),
      done_at = null,
      sweep_at = null,
      owner = null,
      lease_until = null,
      cancel_asked = b.cancel_asked or v_batch.state <> 'preparing',
      -- No row waits for a stray; what it costs is booked when it has ended.
      requests = case v_batch.state when 'preparing' then b.requests else 0 end,
      rows = case v_batch.state when 'preparing' then b.rows else 0 end,
      settled_at = null,
      spent_usd = null,
      problem = case when v_batch.state <> 'preparing' then 'It was created after its intent had been given up; it is being cancelled.' end
    where b.id = v_batch.id;
  exception
    when unique_violation then -- another intent was quicker
      return 'taken';
  end;
  update rowmill.pipelines as p
  set strikes = 0, wait_until = null, wait_reason = null
  where p.id = v_batch.pipeline_id and p.wait_reason is not null;
  return case v_batch.state when 'preparing' then 'started' else 'stray' end;
end;
$$;
comment on function rowmill.start_batch is
  'The provider has a batch of this intent under this id: a fact, whoever brings it. "started": preparing -> running. '
  '"known": it was recorded before. "stray": the intent had been given up and its rows are elsewhere; '
  'the batch is recorded as running and to be cancelled. "foreign": the intent has another batch; nothing is recorded. '
  '"taken": another intent has this batch, which is not to be cancelled; nothing is recorded. '
  'Raises 22023 where the id has no character, or more than 256.';
revoke all on function rowmill.start_batch from public;

-- API: internal
create or replace function rowmill.why_batch_waits(model text, room rowmill.room, forecast rowmill.forecast, requests integer)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_fits bigint;
  v_lacks_tokens boolean;
  v_lacks_usd boolean;
begin
  if room.code is not null then
    return jsonb_build_object('status', 'waits', 'waits_for', room.code, 'reason', room.reason, 'fits', 0);
  end if;
  if room.tokens is not null and not room.tokens_come then
    -- Only a batch that ends well teaches that there is room again. With none on its way one request is tried, however
    -- little the model is thought to take; what an operator says it takes holds.
    room.tokens := greatest(room.tokens, least(
      ceil(forecast.most_tokens::numeric / nullif(why_batch_waits.requests, 0)),
      (select l.enqueued_tokens from rowmill.model_limits as l where l.model = why_batch_waits.model)
    ));
  end if;
  v_lacks_tokens := coalesce(forecast.most_tokens > room.tokens, false);
  v_lacks_usd := coalesce(forecast.most_usd > room.usd, false);
  if not v_lacks_tokens and not v_lacks_usd then
    return null;
  end if;
  v_fits := least(
    floor(room.usd / nullif(forecast.most_usd / why_batch_waits.requests, 0)),
    floor(room.tokens / nullif(forecast.most_tokens::numeric / why_batch_waits.requests, 0))
  );
  return jsonb_build_object(
    'status', 'waits',
    'waits_for', case when v_lacks_tokens then 'tokens' else 'budget' end,
    'reason', case
      when v_lacks_tokens
        then format('Its %s input tokens do not fit into the queue for %s, which has room for %s. It goes on when batches end.',
          forecast.most_tokens, why_batch_waits.model, room.tokens)
      else rowmill.budget_reason(forecast.most_usd, room)
    end,
    -- A part is sent only where waiting would not make room for the whole.
    'fits', case when v_lacks_usd and room.usd_comes or v_lacks_tokens and room.tokens_come then 0 else v_fits end
  );
end;
$$;
comment on function rowmill.why_batch_waits is
  'What begin_batch answers where a batch finds no room, and how many of its requests would; null where all of it fits.';
revoke all on function rowmill.why_batch_waits from public;

-- API: internal
create or replace function rowmill.write_intent(
  worker text,
  key text,
  pipeline_id bigint,
  chunk_ids bigint[],
  requests integer,
  bytes bigint,
  raw_input_tokens bigint,
  price rowmill.model_prices,
  forecast rowmill.forecast,
  has_twins boolean
)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_rows integer;
  v_batch_id bigint;
begin
  select count(*) into strict v_rows from rowmill.chunk_rows as r where r.chunk_id = any (write_intent.chunk_ids);
  insert into rowmill.batch_processing_details (
    key, pipeline_id, pipeline_version, model, endpoint, requests, rows, bytes, owner, lease_until, raw_input_tokens,
    estimated_input_tokens, estimated_output_tokens, reserved_tokens, price, estimated_usd, reserved_usd, has_twins
  )
  select write_intent.key, p.id, p.version, p.model, p.endpoint,
    write_intent.requests, v_rows, write_intent.bytes, write_intent.worker, now() + s.lease, write_intent.raw_input_tokens,
    forecast.input_tokens, forecast.output_tokens, forecast.most_tokens, write_intent.price, forecast.usd, forecast.most_usd,
    write_intent.has_twins
  from rowmill.pipelines as p
  cross join rowmill.settings as s
  where p.id = write_intent.pipeline_id
  returning id into strict v_batch_id;
  if forecast.most_usd <> 0 then
    insert into rowmill.spending as s (pipeline_id, day, reserved_usd)
    values (write_intent.pipeline_id, (now() at time zone 'UTC')::date, forecast.most_usd)
    on conflict (pipeline_id, day) do update set reserved_usd = s.reserved_usd + excluded.reserved_usd;
  end if;
  update rowmill.chunks as c
  set state = 'batched', batch_id = v_batch_id, owner = null, lease_until = null
  where c.id = any (write_intent.chunk_ids);
  return v_batch_id;
end;
$$;
comment on function rowmill.write_intent is
  'The intent of a batch over accepted chunks, and its reservation; returns its id. The caller has the locks of begin_batch.';
revoke all on function rowmill.write_intent from public;

-- API: worker
create or replace function rowmill.claim_chunk(
  chunk_id bigint,
  pipeline text,
  worker text,
  last_n integer default null -- the highest place among the rows that came along
)
returns table (status text, row_count integer, pipeline_id bigint, rows_hold boolean)
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_chunk rowmill.chunks;
  v_room rowmill.room;
begin
  select p.* into v_pipeline
  from rowmill.pipelines as p
  where p.name = claim_chunk.pipeline and p.state <> 'dropped';
  if not found then
    return query select 'unknown_pipeline', null::integer, null::bigint, false;
    return;
  end if;
  if v_pipeline.state = 'paused' then
    return query select 'paused', null::integer, v_pipeline.id, false;
    return;
  end if;

  v_room := rowmill.room_for(v_pipeline.id);
  if v_room.code is null and (rowmill.is_being_tried(v_pipeline.id) or rowmill.would_overtake(v_pipeline.id, v_pipeline.model)) then
    v_room.code := 'turn';
    v_room.reason := 'Others wait for the same room and came before.';
  end if;
  if v_room.code is not null then
    update rowmill.chunks as c
    set waits_for = v_room.code, wait_reason = v_room.reason
    where c.id = claim_chunk.chunk_id and c.pipeline_id = v_pipeline.id and c.state = 'waiting'
    and coalesce(claim_chunk.last_n, -1) < c.row_count and c.waits_for is null
    returning c.* into v_chunk;
    if found then
      return query select 'waits', v_chunk.row_count, v_chunk.pipeline_id, false;
      return;
    end if;
  else
    update rowmill.chunks as c
    set state = 'accepted', owner = claim_chunk.worker, lease_until = now() + s.lease, waits_for = null, wait_reason = null
    from rowmill.settings as s
    where c.id = claim_chunk.chunk_id and c.pipeline_id = v_pipeline.id and c.state = 'waiting'
    and coalesce(claim_chunk.last_n, -1) < c.row_count
    returning c.* into v_chunk;
    if found then
      return query select 'accepted', v_chunk.row_count, v_chunk.pipeline_id, v_chunk.version = v_pipeline.version;
      return;
    end if;
  end if;

  select c.* into v_chunk from rowmill.chunks as c where c.id = claim_chunk.chunk_id;
  return query select
    case
      when v_chunk.id is null or v_chunk.pipeline_id <> v_pipeline.id then 'unknown_chunk'
      when claim_chunk.last_n >= v_chunk.row_count then 'foreign_rows'
      else 'known'
    end,
    v_chunk.row_count, v_chunk.pipeline_id, false;
end;
$$;
comment on function rowmill.claim_chunk is
  'Takes a waiting chunk under a lease: "accepted", with whether rows that came along may be used (the pipeline was not altered '
  'since); "waits": there is no room for it, it is taken later; "known" where somebody has or had it, which repeats harmlessly. '
  'Else nothing changes: "paused", "unknown_pipeline", "unknown_chunk", "foreign_rows" (a place beyond the chunk).';
revoke all on function rowmill.claim_chunk from public;

-- API: worker
create or replace function rowmill.claim_work(worker text, max_batches integer)
returns table (batch integer, chunk_id bigint, pipeline_id bigint, row_count integer)
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline record;
  v_ids bigint[];
  v_batches integer := 0;
  v_done bigint[] := '{}'::bigint[];
  v_has_taken boolean := true;
begin
  while v_has_taken and v_batches < claim_work.max_batches loop
    v_has_taken := false;
    for v_pipeline in
      select t.id, t.sharers from rowmill.pipelines_by_turn(v_done) with ordinality as t(id, sharers, place) order by t.place
    loop
      exit when v_batches >= claim_work.max_batches;
      v_ids := rowmill.pack_chunks(v_pipeline.id, claim_work.worker, v_pipeline.sharers);
      if coalesce(cardinality(v_ids), 0) = 0 then
        v_done := v_done || v_pipeline.id;
        continue;
      end if;
      v_has_taken := true;
      v_batches := v_batches + 1;
      return query
      select v_batches, c.id, c.pipeline_id, c.row_count
      from rowmill.chunks as c
      where c.id = any (v_ids)
      order by c.id;
    end loop;
  end loop;
end;
$$;
comment on function rowmill.claim_work is
  'Takes, under a lease, chunks that nobody posted, that were posted a while ago and accepted by nobody, '
  'or that wait for room and now have it, grouped by the batch that they are to travel in; pipelines take turns.';
revoke all on function rowmill.claim_work from public;

-- API: worker
create or replace function rowmill.close_chunk(chunk_id bigint, worker text)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
begin
  update rowmill.chunks as c
  set state = 'done', owner = null, lease_until = null, keys = null, ended_at = now()
  where c.id = close_chunk.chunk_id and c.state = 'accepted' and c.owner = close_chunk.worker
  and not exists (select from rowmill.chunk_rows as r where r.chunk_id = c.id);
  return found;
end;
$$;
comment on function rowmill.close_chunk is
  'Ends an accepted chunk that has nothing to send: its rows are gone, filtered out or in flight elsewhere.';
revoke all on function rowmill.close_chunk from public;

-- API: public
create or replace function rowmill.flush(pipeline text)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_chunk_id bigint;
  v_formed integer := 0;
begin
  if v_pipeline.state <> 'active' then
    raise exception using errcode = 'RM112', message = format('pipeline "%s" is %s', v_pipeline.name, v_pipeline.state),
      detail = coalesce(v_pipeline.state_reason, 'It was paused by hand.'),
      hint = format('select rowmill.resume_pipeline(%L);', v_pipeline.name);
  end if;
  loop
    v_chunk_id := rowmill.form_chunk(v_pipeline.id, true);
    exit when v_chunk_id is null;
    begin
      perform rowmill.post_chunk(v_chunk_id);
    exception when others then
      raise warning 'chunk % could not be posted, a worker fetches it: %', v_chunk_id, sqlerrm;
    end;
    v_formed := v_formed + 1;
  end loop;
  return v_formed;
end;
$$;
comment on function rowmill.flush is
  'Forms all pending keys into chunks now, an incomplete one too, without waiting for flush_after; returns how many chunks. '
  'Raises RM111, RM112 (not active).';
revoke all on function rowmill.flush from public;

-- API: internal
create or replace function rowmill.form_chunk(
  pipeline_id bigint,
  partial boolean, -- true takes fewer than chunk_size keys too
  own_only boolean default false -- true takes only what this transaction queued
)
returns bigint
language plpgsql
security definer -- called from triggers of whoever inserts
set search_path = pg_catalog, pg_temp
as $$
declare
  v_chunk_size integer;
  v_version integer;
  v_entry record;
  v_ids bigint[];
  v_total integer := 0;
  v_other_ids bigint[];
  v_other_total integer := 0;
  v_only_missing boolean;
begin
  select p.chunk_size, p.version into v_chunk_size, v_version
  from rowmill.pipelines as p
  where p.id = form_chunk.pipeline_id and p.state = 'active';
  if not found then
    return null;
  end if;

  -- Entry by entry, so that no more are locked than are taken (a loop fetches a few ahead).
  for v_entry in
    select p.id, p.row_count, p.only_missing
    from rowmill.pending_keys as p
    where p.pipeline_id = form_chunk.pipeline_id
    and p.queued_at <= clock_timestamp()
    and (not form_chunk.own_only or p.xid = pg_current_xact_id())
    order by p.id
    for update skip locked
  loop
    v_only_missing := coalesce(v_only_missing, v_entry.only_missing);
    if v_entry.only_missing = v_only_missing then
      v_ids := v_ids || v_entry.id;
      v_total := v_total + v_entry.row_count;
    else
      v_other_ids := v_other_ids || v_entry.id;
      v_other_total := v_other_total + v_entry.row_count;
    end if;
    exit when greatest(v_total, v_other_total) >= v_chunk_size;
  end loop;
  -- A chunk is of one kind. A full one does not wait for an incomplete one of the other kind that is older.
  if v_other_total >= v_chunk_size then
    v_only_missing := not v_only_missing;
    v_ids := v_other_ids;
    v_total := v_other_total;
  end if;
  if v_total = 0 or (v_total < v_chunk_size and not form_chunk.partial) then
    return null;
  end if;
  return rowmill.write_chunk(form_chunk.pipeline_id, v_ids, v_only_missing, v_chunk_size, v_version);
end;
$$;
comment on function rowmill.form_chunk is
  'Groups the oldest pending keys into a waiting chunk and returns its id; null where there are too few, or the pipeline is not active. '
  'Skips what another session is grouping. A rollback gives the keys back.';
revoke all on function rowmill.form_chunk from public;

-- API: internal
create or replace function rowmill.form_chunk_on_insert(pipeline_id bigint)
returns void
language plpgsql
security definer -- called from triggers of whoever inserts
set search_path = pg_catalog, pg_temp
as $$
declare
  v_chunk_id bigint;
begin
  -- Under a stricter level, reading the queue could make the user's own commit fail; the tick forms instead.
  if current_setting('transaction_isolation') <> 'read committed' then
    return;
  end if;
  -- In a transaction of several statements, somebody else's keys would wait for its end.
  v_chunk_id := rowmill.form_chunk(form_chunk_on_insert.pipeline_id, false, own_only => now() <> statement_timestamp());
  if v_chunk_id is not null then
    begin
      -- Its number alone: putting the rows into pg_net's queue would cost the user's statement several times
      -- what the insert itself does.
      perform rowmill.post_chunk(v_chunk_id, with_rows => false);
    exception when others then
      -- The chunk stands; the tick posts it, or a worker fetches it.
      perform rowmill.note_trigger_error(form_chunk_on_insert.pipeline_id, 'chunk', sqlstate, sqlerrm);
    end;
  end if;
exception when others then
  -- The keys stand; the tick forms them.
  perform rowmill.note_trigger_error(form_chunk_on_insert.pipeline_id, 'chunk', sqlstate, sqlerrm);
end;
$$;
comment on function rowmill.form_chunk_on_insert is
  'Forms and posts at most one full chunk, from inside a user''s statement. Never raises; what it leaves, the tick takes.';
revoke all on function rowmill.form_chunk_on_insert from public;

-- API: internal
create or replace function rowmill.hash_of_row(pipeline_id bigint, key jsonb)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- The hash of an input must be the one that read_chunk made.
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
  v_parts rowmill.source_parts := rowmill.source_parts_of(pipeline_id);
  v_hash text;
begin
  execute format('select %s from (select $1) as k(key) join %s as s on %s', v_parts.hash, v_parts.relation, v_parts.key_match)
  into v_hash
  using hash_of_row.key;
  return v_hash;
exception
  when others then
    return null;
end;
$$;
comment on function rowmill.hash_of_row is
  'The hash of a row''s input as it is now; null where there is no such row, or it cannot be read.';
revoke all on function rowmill.hash_of_row from public;

-- API: worker
create or replace function rowmill.hold_back_chunks(
  worker text,
  waits_for text, -- as begin_batch said
  reason text,
  chunks jsonb -- [{"c": chunk, "requests", "raw_input_tokens", "max_output_tokens", "bytes"}]; the figures may be null
)
returns integer
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids bigint[];
begin
  with held_back as (
    update rowmill.chunks as c
    set
      state = 'waiting', owner = null, lease_until = null,
      waits_for = hold_back_chunks.waits_for, wait_reason = hold_back_chunks.reason,
      posted_at = case when hold_back_chunks.waits_for is null then c.posted_at else now() end, -- for pack_chunks
      requests = coalesce(rowmill.count_or_null(r.requests, most => 2147483647), c.requests),
      raw_input_tokens = coalesce(rowmill.count_or_null(r.raw_input_tokens), c.raw_input_tokens),
      max_output_tokens = rowmill.count_or_null(r.max_output_tokens),
      bytes = coalesce(rowmill.count_or_null(r.bytes), c.bytes)
    from jsonb_to_recordset(hold_back_chunks.chunks)
      as r(c bigint, requests jsonb, raw_input_tokens jsonb, max_output_tokens jsonb, bytes jsonb)
    where c.id = r.c and c.state = 'accepted' and c.owner = hold_back_chunks.worker
    returning c.id
  )
  select coalesce(array_agg(h.id), '{}') into strict v_ids from held_back as h;
  delete from rowmill.chunk_rows as r where r.chunk_id = any (v_ids);
  return cardinality(v_ids);
end;
$$;
comment on function rowmill.hold_back_chunks is
  'Gives accepted chunks back that found no room, with the reason and what their file would have held; '
  'returns how many were this lease''s. waits_for null: they are taken again at once.';
revoke all on function rowmill.hold_back_chunks from public;

-- API: worker
create or replace function rowmill.hold_rows(chunk_id bigint, worker text, rows jsonb)
returns table (n integer, output_scale integer)
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_chunk rowmill.chunks;
  v_held integer[];
begin
  select c.* into v_chunk
  from rowmill.chunks as c
  where c.id = hold_rows.chunk_id and c.state = 'accepted' and c.owner = hold_rows.worker
  for update;
  if not found then
    return;
  end if;
  -- As stored it is compressed, and each look at it would unpack it whole: 60 µs a row in place of 14.
  v_chunk.keys := v_chunk.keys || '[]';
  with held as (
    insert into rowmill.chunk_rows (chunk_id, n, pipeline_id, key, hash)
    select v_chunk.id, r.n, v_chunk.pipeline_id, v_chunk.keys -> r.n, r.hash
    from jsonb_to_recordset(hold_rows.rows) as r(n integer, hash text)
    where r.n >= 0 and r.n < v_chunk.row_count
    order by md5((v_chunk.keys -> r.n)::text) -- one order for all sessions: no deadlock
    on conflict do nothing
    returning chunk_rows.n
  )
  select coalesce(array_agg(held.n), '{}') into strict v_held from held;

  if exists (select from rowmill.answered_rows as a where a.pipeline_id = v_chunk.pipeline_id) then
    v_held := rowmill.leave_out_answered(v_chunk.pipeline_id, v_chunk.id, v_chunk.oldest_entry, v_held);
  end if;
  -- After chunk_rows, as whoever settles a row has it.
  if exists (select from rowmill.failures as f where f.pipeline_id = v_chunk.pipeline_id) then
    perform rowmill.void_failures(v_chunk.pipeline_id, v_chunk.keys, hold_rows.rows);
  end if;
  if v_chunk.only_missing then
    v_held := rowmill.leave_out_filled(v_chunk.pipeline_id, v_chunk.id, v_held);
  end if;

  if exists (select from rowmill.failures as f where f.pipeline_id = v_chunk.pipeline_id and f.truncations > 0) then
    return query
    select h.n, coalesce(power(2, least(f.truncations, 5))::integer, 1)
    from unnest(v_held) as h(n)
    join rowmill.chunk_rows as r on r.chunk_id = v_chunk.id and r.n = h.n
    left join rowmill.failures as f
      on f.pipeline_id = v_chunk.pipeline_id and md5(f.key::text) = md5(r.key::text) and f.hash = r.hash;
  else
    return query select h.n, 1 from unnest(v_held) as h(n);
  end if;
end;
$$;
comment on function rowmill.hold_rows is
  'Notes rows of an accepted chunk, [{"n","hash"}], as in flight, and returns the places that may be sent, '
  'each with what its limit on output tokens is to be multiplied by: a row whose very input is in flight already, '
  'or was answered since it was queued, is left out, and in a chunk of missing rows one that was answered since it was read.';
revoke all on function rowmill.hold_rows from public;

-- API: internal
create or replace function rowmill.is_being_tried(pipeline_id bigint)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from rowmill.pipelines as p where p.id = is_being_tried.pipeline_id and p.strikes > 0
  ) and (
    exists (
      select from rowmill.chunks as c where c.pipeline_id = is_being_tried.pipeline_id and c.state = 'accepted'
    ) or exists (
      select from rowmill.batch_processing_details as b where b.pipeline_id = is_being_tried.pipeline_id and b.state = 'preparing'
    )
  );
$$;
comment on function rowmill.is_being_tried is
  'Whether one batch is on its way to a provider that took none before: the others wait for what becomes of it.';
revoke all on function rowmill.is_being_tried from public;

-- API: internal
create or replace function rowmill.leave_out_answered(
  pipeline_id bigint,
  chunk_id bigint,
  oldest_entry bigint, -- of the chunk: the lowest number in the queue among its keys
  held integer[] -- places in the chunk
)
returns integer[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts rowmill.source_parts := rowmill.source_parts_of(pipeline_id);
  v_held integer[];
begin
  -- Only what was queued before the answer, and only where the answer is still there: a row that was inserted anew,
  -- or whose outputs were erased, is asked for.
  execute format(
    $sql$
    with answered as (
      delete from rowmill.chunk_rows as k
      using rowmill.answered_rows as a, %1$s as s
      where k.chunk_id = $1 and k.n = any ($2)
      and a.pipeline_id = $3 and md5(a.key::text) = md5(k.key::text) and a.hash = k.hash
      and a.queue_position >= $4
      and %2$s and not (%3$s)
      returning k.n
    )
    select coalesce(array_agg(h.n), '{}') from unnest($2) as h(n) where h.n not in (select answered.n from answered)
    $sql$,
    v_parts.relation, v_parts.key_match, v_parts.missing
  )
  into strict v_held
  using leave_out_answered.chunk_id, leave_out_answered.held, leave_out_answered.pipeline_id, leave_out_answered.oldest_entry;
  -- Asked for with another input, a row has no answer that still holds. Locked in one order, as failures are.
  perform
  from rowmill.answered_rows as a
  join rowmill.chunk_rows as r on md5(r.key::text) = md5(a.key::text)
  where a.pipeline_id = leave_out_answered.pipeline_id and r.chunk_id = leave_out_answered.chunk_id and r.n = any (v_held)
  order by md5(a.key::text), a.hash
  for update of a;
  delete from rowmill.answered_rows as a
  using rowmill.chunk_rows as r
  where r.chunk_id = leave_out_answered.chunk_id and r.n = any (v_held)
  and a.pipeline_id = leave_out_answered.pipeline_id and md5(a.key::text) = md5(r.key::text);
  return v_held;
end;
$$;
comment on function rowmill.leave_out_answered is
  'Of the held rows of a chunk, those whose input was not answered since it was queued; forgets the answers that their rows had before.';
revoke all on function rowmill.leave_out_answered from public;

-- API: internal
create or replace function rowmill.leave_out_filled(
  pipeline_id bigint,
  chunk_id bigint,
  held integer[] -- places in the chunk
)
returns integer[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts rowmill.source_parts := rowmill.source_parts_of(pipeline_id);
  v_held integer[];
begin
  -- An answer may have been written since the rows were read. Now that they are held, none can be on its way.
  execute format(
    $sql$
    with answered as (
      delete from rowmill.chunk_rows as k
      using %1$s as s
      where k.chunk_id = $1 and k.n = any ($2) and %2$s and not (%3$s)
      returning k.n
    )
    select coalesce(array_agg(h.n), '{}') from unnest($2) as h(n) where h.n not in (select answered.n from answered)
    $sql$,
    v_parts.relation, v_parts.key_match, v_parts.missing
  )
  into strict v_held
  using leave_out_filled.chunk_id, leave_out_filled.held;
  return v_held;
end;
$$;
comment on function rowmill.leave_out_filled is
  'Of the held rows of a chunk, those that lack outputs.';
revoke all on function rowmill.leave_out_filled from public;

-- API: internal
create or replace function rowmill.pack_chunks(
  pipeline_id bigint,
  worker text,
  sharers integer -- pipelines that wait for the same model, this one among them
)
returns bigint[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_room rowmill.room := rowmill.room_for(pipeline_id);
  v_ids bigint[];
begin
  if v_room.code is not null or rowmill.is_being_tried(pipeline_id) then
    return null;
  end if;
  v_ids := rowmill.pick_chunks(pipeline_id, v_room, sharers);
  update rowmill.chunks as c
  set state = 'accepted', owner = pack_chunks.worker, lease_until = now() + s.lease, waits_for = null, wait_reason = null
  from rowmill.settings as s
  where c.id = any (v_ids);
  return v_ids;
end;
$$;
comment on function rowmill.pack_chunks is
  'Takes waiting chunks of one pipeline that fit into one batch and into the room that there is, the oldest first; returns their ids, '
  'null where there is no room. What found no room before is packed as tightly as it goes; what was never tried travels by itself, '
  'or by hundredths of a long queue, or as the batches that are left of the hour demand it.';
revoke all on function rowmill.pack_chunks from public;

-- API: internal
create or replace function rowmill.pick_chunks(
  pipeline_id bigint,
  room rowmill.room,
  sharers integer -- pipelines that wait for the same model, this one among them
)
returns bigint[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_model text;
  v_price rowmill.model_prices;
  v_history rowmill.usage_history := rowmill.history_of(pipeline_id);
  v_share record;
  v_forecast rowmill.forecast;
  v_chunk record;
  v_waits record;
  v_ids bigint[] := '{}'::bigint[];
  v_untried integer := 0;
  v_rows bigint := 0;
  v_bytes bigint := 0;
  v_tokens bigint := 0;
  v_usd numeric := 0;
begin
  select p.model into strict v_model from rowmill.pipelines as p where p.id = pick_chunks.pipeline_id;
  v_price := rowmill.price_of(v_model);
  select s.* into strict v_share from rowmill.share_of_room(pick_chunks.pipeline_id, v_model, room, v_history, pick_chunks.sharers) as s;
  room.tokens_come := room.tokens_come or v_share.is_in_hand;
  room.usd_comes := room.usd_comes or v_share.is_in_hand;

  for v_chunk in
    select c.id, c.row_count, c.requests, c.raw_input_tokens, c.max_output_tokens, c.waits_for,
      coalesce(c.bytes, c.row_count * 1000) as bytes, c.posted_at > now() - s.repost_after as was_just_tried
    from rowmill.chunks as c
    cross join rowmill.settings as s
    where c.pipeline_id = pick_chunks.pipeline_id and c.state = 'waiting'
    and (c.waits_for is not null or c.posted_at is null or c.posted_at < now() - s.fetch_after)
    order by c.id
    for update of c skip locked
  loop
    v_forecast := null;
    if v_chunk.raw_input_tokens is not null then
      v_forecast := rowmill.forecast_of(v_history, v_price, v_chunk.requests, v_chunk.raw_input_tokens, v_chunk.max_output_tokens);
    elsif v_history.tokens_per_request is not null then
      v_forecast.most_tokens := rowmill.clamped(ceil(v_chunk.row_count * v_history.tokens_per_request * 1.1));
    end if;
    if cardinality(v_ids) = 0 then
      select w.* into v_waits
      from rowmill.why_first_waits(v_model, room, v_forecast, v_chunk.requests, v_chunk.was_just_tried, v_share.tokens_free,
        v_share.tokens_left, v_share.has_own_tokens, v_share.is_gap) as w;
      if found then
        update rowmill.chunks as c
        set waits_for = v_waits.waits_for, wait_reason = v_waits.reason
        where c.id = v_chunk.id and c.wait_reason is distinct from v_waits.reason;
        return v_ids;
      end if;
    else
      exit when v_tokens + v_forecast.most_tokens > v_share.tokens_left
        or v_share.tokens_left is not null and v_forecast.most_tokens is null;
      exit when v_usd + v_forecast.most_usd > room.usd or room.usd is not null and v_forecast.most_usd is null;
      exit when v_rows + v_chunk.row_count > 50000 or v_bytes + v_chunk.bytes > 30000000 or cardinality(v_ids) >= 1000;
      exit when v_chunk.waits_for is null and v_untried >= v_share.alone;
    end if;
    v_ids := v_ids || v_chunk.id;
    v_untried := v_untried + (v_chunk.waits_for is null)::integer;
    v_rows := v_rows + v_chunk.row_count;
    v_bytes := v_bytes + v_chunk.bytes;
    v_tokens := v_tokens + coalesce(v_forecast.most_tokens, 0);
    v_usd := v_usd + coalesce(v_forecast.most_usd, 0);
  end loop;
  return v_ids;
end;
$$;
comment on function rowmill.pick_chunks is
  'Locks waiting chunks of one pipeline that fit into one batch and into a room, the oldest first; returns their ids. '
  'Where the first does not fit, it notes why, and returns none.';
revoke all on function rowmill.pick_chunks from public;

-- API: internal
create or replace function rowmill.pipelines_by_turn(
  done bigint[] -- pipelines that are left out
)
returns table (pipeline_id bigint, sharers integer)
language plpgsql -- unlike one in SQL, it keeps its plan from call to call
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  with waiting as (
    select distinct on (c.pipeline_id) c.pipeline_id, c.id as oldest
    from rowmill.chunks as c
    cross join rowmill.settings as s
    where c.state = 'waiting'
    and (c.waits_for is not null or c.posted_at is null or c.posted_at < now() - s.fetch_after)
    order by c.pipeline_id, c.id
  )
  select p.id, count(*) over (partition by p.model)::integer
  from waiting as w
  join rowmill.pipelines as p on p.id = w.pipeline_id
  where p.state = 'active' and p.id <> all (pipelines_by_turn.done) and rowmill.structure_problem(p.id) is null
  -- Whoever has least of the queue is first.
  order by (
    select coalesce(sum(b.reserved_tokens), 0)
    from rowmill.batch_processing_details as b
    where b.pipeline_id = p.id and b.state in ('preparing', 'running')
  ) + (
    select coalesce(sum(c.row_count), 0)
    from rowmill.chunks as c
    where c.pipeline_id = p.id and c.state = 'accepted'
  ), (
    -- Of several that have none, whoever had its turn longest ago.
    select max(b.id) from rowmill.batch_processing_details as b where b.pipeline_id = p.id
  ) nulls first, w.oldest;
end;
$$;
comment on function rowmill.pipelines_by_turn is
  'Active pipelines with chunks for claim_work, the next first, each with how many of them share its model.';
revoke all on function rowmill.pipelines_by_turn from public;

-- API: worker
create or replace function rowmill.read_chunk(
  chunk_id bigint,
  from_n integer default 0, -- first place in the chunk
  place_count integer default 1000 -- how many places to look at
)
returns table (n integer, hash text, input jsonb)
language plpgsql
stable
security definer -- the worker has no rights on the source table
set search_path = pg_catalog, pg_temp
-- An input's text, and so its hash, must not depend on whoever asks.
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
-- All rows are wanted, by the plan that is best for all of them.
set cursor_tuple_fraction = 1
as $$
declare
  v_most constant bigint := 16000000; -- bytes of a page, and of a row: what a post may have as well
  v_bytes bigint := 0;
  v_chunk rowmill.chunks;
  v_parts rowmill.source_parts;
  v_rows refcursor;
begin
  select c.* into v_chunk from rowmill.chunks as c where c.id = read_chunk.chunk_id and c.state <> 'done';
  if not found then
    return;
  end if;
  v_parts := rowmill.source_parts_of(v_chunk.pipeline_id);
  -- One by one: a loop would have Postgres make ten rows before it looks at the first.
  open v_rows for execute format(
    $sql$
    select k.n, %6$s, %1$s
    from (select p.n, $1 -> p.n as key from generate_series($2, $3) as p(n)) as k
    join %2$s as s on %3$s
    where %4$s and (not $4 or (%5$s))
    $sql$,
    v_parts.input, v_parts.relation, v_parts.key_match, v_parts.selected, v_parts.missing, v_parts.hash
  )
  using v_chunk.keys, read_chunk.from_n, least(read_chunk.from_n + read_chunk.place_count, v_chunk.row_count) - 1, v_chunk.only_missing;
  loop
    fetch v_rows into n, hash, input;
    exit when not found;
    v_bytes := v_bytes + pg_column_size(input);
    if v_bytes > v_most then
      raise exception using errcode = '54000',
        message = case
          when read_chunk.place_count = 1 then format('the columns that the prompt names have %s bytes; a row may have %s', v_bytes, v_most)
          else format('%s places have more than %s bytes', read_chunk.place_count, v_most)
        end,
        hint = case when read_chunk.place_count = 1 then 'Shorten the row.' else 'Ask for fewer places.' end;
    end if;
    return next;
  end loop;
end;
$$;
comment on function rowmill.read_chunk is
  'Rows of a chunk as they are now: place in the chunk, hash of the input, input as {"column": text or null}, in no order. '
  'Rows that vanished or that the filter leaves out are not among them, so that a page may be empty before the end. '
  'Raises RM201 where the table or a column is gone, 54000 where the places have more than 16 MB, and what a filter or a cast raises '
  'for a row: ask for fewer places then.';
revoke all on function rowmill.read_chunk from public;

-- API: worker
create or replace function rowmill.refuse_rows(chunk_id bigint, worker text, failures jsonb)
returns integer
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline_id bigint;
begin
  select c.pipeline_id into v_pipeline_id
  from rowmill.chunks as c
  where c.id = refuse_rows.chunk_id and c.state = 'accepted' and c.owner = refuse_rows.worker
  for update;
  if not found then
    return 0;
  end if;
  return rowmill.settle_failures(v_pipeline_id, null, (
    select coalesce(jsonb_agg(f.value || jsonb_build_object('c', refuse_rows.chunk_id)), '[]')
    from jsonb_array_elements(refuse_rows.failures) as f(value)
  ));
end;
$$;
comment on function rowmill.refuse_rows is
  'Rows of an accepted chunk, held before, that cannot be sent: [{"n","h","class","code","message","retried","counted"}]. '
  'Returns how many.';
revoke all on function rowmill.refuse_rows from public;

-- API: worker
create or replace function rowmill.refuse_unread_rows(
  chunk_id bigint,
  worker text,
  failures jsonb -- [{"n": place, "class", "code", "message", "retried", "counted"}]
)
returns integer
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_chunk rowmill.chunks;
  v_failed jsonb;
begin
  select c.* into v_chunk
  from rowmill.chunks as c
  where c.id = refuse_unread_rows.chunk_id and c.state = 'accepted' and c.owner = refuse_unread_rows.worker
  for update;
  if not found then
    return 0;
  end if;
  select coalesce(jsonb_agg(f.value || jsonb_build_object(
    'key', v_chunk.keys -> (f.value -> 'n')::integer,
    'hash', coalesce(rowmill.hash_of_row(v_chunk.pipeline_id, v_chunk.keys -> (f.value -> 'n')::integer), ''),
    'noted', true
  )), '[]')
  into strict v_failed
  from jsonb_array_elements(refuse_unread_rows.failures) as f(value)
  where (f.value -> 'n')::integer between 0 and v_chunk.row_count - 1;
  perform rowmill.note_failures(v_chunk.pipeline_id, null, v_failed);
  return jsonb_array_length(v_failed);
end;
$$;
comment on function rowmill.refuse_unread_rows is
  'Rows of an accepted chunk that read_chunk raises for, each with the reason; they are not in flight. Returns how many. Harmless to '
  'repeat: a row has one failure.';
revoke all on function rowmill.refuse_unread_rows from public;

-- API: worker
create or replace function rowmill.release_chunk(chunk_id bigint, worker text)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
begin
  update rowmill.chunks as c
  -- fetched again after settings.fetch_after: what failed just now would fail again at once
  set state = 'waiting', owner = null, lease_until = null, posted_at = now()
  where c.id = release_chunk.chunk_id and c.state = 'accepted' and c.owner = release_chunk.worker;
  if found then
    delete from rowmill.chunk_rows as r where r.chunk_id = release_chunk.chunk_id;
    return true;
  end if;
  return false;
end;
$$;
comment on function rowmill.release_chunk is
  'Gives an accepted chunk back untouched; false where it is not this worker''s any more.';
revoke all on function rowmill.release_chunk from public;

-- API: internal
create or replace function rowmill.share_of_room(
  pipeline_id bigint,
  model text,
  room rowmill.room,
  history rowmill.usage_history,
  sharers integer -- pipelines that wait for the same model, this one among them
)
returns table (
  is_in_hand boolean, -- workers have chunks of the model that they have not submitted yet
  tokens_free numeric, -- of the queue, once what is in hand has taken its part; null: no limit known
  tokens_left numeric, -- of those, what this pipeline may take
  has_own_tokens boolean, -- it has some, in the queue or in hand
  is_gap boolean, -- not all that waits fits into the queue, and what is left is less than half of the pipeline's part
  alone integer -- chunks that have not been tried travel by so many
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tokens_in_hand numeric;
  v_own_tokens numeric;
  v_tokens_of_all bigint := (room.tokens + room.tokens_in_queue) / sharers; -- the pipeline's part of the model's whole queue
  v_backlog bigint;
  v_backlog_rows bigint;
  v_is_scarce boolean;
begin
  -- What another worker has in hand, and has not submitted yet, will take its part.
  select count(*) > 0, coalesce(sum(h.tokens), 0), coalesce(sum(h.tokens) filter (where h.is_own), 0)
  into strict is_in_hand, v_tokens_in_hand, v_own_tokens
  from (
    select c.pipeline_id = share_of_room.pipeline_id as is_own,
      coalesce(c.raw_input_tokens * coalesce((history).input_factor, 1), c.row_count * (history).tokens_per_request) as tokens
    from rowmill.chunks as c
    join rowmill.pipelines as p on p.id = c.pipeline_id
    where c.state = 'accepted' and p.model = share_of_room.model
  ) as h;
  v_own_tokens := v_own_tokens + (
    select coalesce(sum(b.reserved_tokens), 0)
    from rowmill.batch_processing_details as b
    where b.pipeline_id = share_of_room.pipeline_id and b.model = share_of_room.model and b.state in ('preparing', 'running')
  );
  has_own_tokens := v_own_tokens > 0;
  tokens_free := room.tokens - v_tokens_in_hand;
  tokens_left := round(least(tokens_free, v_tokens_of_all - v_own_tokens));
  select count(*), coalesce(sum(c.row_count), 0) into strict v_backlog, v_backlog_rows
  from rowmill.chunks as c
  where c.pipeline_id = share_of_room.pipeline_id and c.state = 'waiting';
  v_is_scarce := coalesce(v_backlog_rows * (history).tokens_per_request > tokens_left, false);
  is_gap := v_is_scarce and tokens_left < v_tokens_of_all / 2;
  alone := case
    -- More than the queue takes waits in any case: in as few batches as it goes.
    when v_is_scarce then v_backlog
    else greatest(1, v_backlog / 100, ceil(v_backlog::numeric / greatest(room.batches, 1)))
  end;
  return next;
end;
$$;
comment on function rowmill.share_of_room is
  'What of a room a pipeline may take for its next batch, where several wait for the same model and other workers are at work; one row.';
revoke all on function rowmill.share_of_room from public;

-- API: internal
create or replace function rowmill.void_failures(
  pipeline_id bigint,
  keys jsonb, -- of a chunk
  rows jsonb -- [{"n": place in it, "hash"}]
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform
  from rowmill.failures as f
  join jsonb_to_recordset(void_failures.rows) as r(n integer, hash text) on md5(f.key::text) = md5((void_failures.keys -> r.n)::text)
  where f.pipeline_id = void_failures.pipeline_id and f.hash <> r.hash
  order by md5(f.key::text)
  for update of f;
  delete from rowmill.failures as f
  using jsonb_to_recordset(void_failures.rows) as r(n integer, hash text)
  where f.pipeline_id = void_failures.pipeline_id
  and md5(f.key::text) = md5((void_failures.keys -> r.n)::text)
  and f.hash <> r.hash;
end;
$$;
comment on function rowmill.void_failures is
  'Forgets failures of rows that are asked for with another input: an edit makes an old failure''s count and verdict void.';
revoke all on function rowmill.void_failures from public;

-- API: internal
create or replace function rowmill.why_first_waits(
  model text,
  room rowmill.room,
  forecast rowmill.forecast, -- of the chunk
  requests integer, -- in it; null: it was never tried
  was_just_tried boolean,
  tokens_free numeric, -- this and what follows: as share_of_room says
  tokens_left numeric,
  has_own_tokens boolean,
  is_gap boolean
)
returns table (waits_for text, reason text)
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- The first goes even if its size is not known, or if it is larger than the room and nothing that ends would make
  -- more: it is cut to what fits.
  if room.tokens_come and (
    forecast.most_tokens > tokens_free or has_own_tokens and (forecast.most_tokens > tokens_left or is_gap)
  ) then
    -- Nor is each gap filled as it opens: batches would stay as small as the first ones were.
    waits_for := 'tokens';
    reason := format('The queue for %s has room for %s input tokens of it. It goes on when batches end.',
      why_first_waits.model, greatest(tokens_left, 0));
    return next;
  -- Where not one of its requests fits, it is not read again at every look. Now and then it is: an edit of the
  -- pipeline or of the limit on output tokens may have made them cheaper.
  elsif forecast.most_usd > room.usd
    and (room.usd_comes or was_just_tried and forecast.most_usd / nullif(why_first_waits.requests, 0) > room.usd) then
    waits_for := 'budget';
    reason := rowmill.budget_reason(forecast.most_usd, room);
    return next;
  elsif was_just_tried and forecast.most_tokens / nullif(why_first_waits.requests, 0) > room.tokens then
    waits_for := 'tokens';
    reason := format('A single request of it takes more input tokens than the %s that the queue for %s has room for; '
      'rowmill.model_limits may be too low.', room.tokens, why_first_waits.model);
    return next;
  end if;
end;
$$;
comment on function rowmill.why_first_waits is
  'Why the first chunk of a batch waits, no row where it goes. Those after it go while they fit.';
revoke all on function rowmill.why_first_waits from public;

-- API: internal
create or replace function rowmill.would_overtake(pipeline_id bigint, model text)
returns boolean
language plpgsql -- unlike one in SQL, it keeps its plan from call to call
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select
    from rowmill.chunks as c
    join rowmill.pipelines as p on p.id = c.pipeline_id
    where c.waits_for is not null and p.state = 'active'
    and (
      c.pipeline_id = would_overtake.pipeline_id
      or c.waits_for = 'rate'
      or c.waits_for in ('tokens', 'turn') and p.model = would_overtake.model
    )
  );
end;
$$;
comment on function rowmill.would_overtake is
  'Whether chunks wait for the room that a new chunk of this pipeline would take: who comes later does not overtake them.';
revoke all on function rowmill.would_overtake from public;

-- API: internal
create or replace function rowmill.write_chunk(
  pipeline_id bigint,
  entry_ids bigint[], -- of pending_keys, locked, all of this kind
  only_missing boolean,
  chunk_size integer,
  version integer -- of the pipeline
)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_keys jsonb;
  v_rest jsonb;
  v_queued_at timestamptz;
  v_may_repeat boolean;
  v_oldest_entry bigint;
  v_chunk_id bigint;
begin
  with taken as (
    delete from rowmill.pending_keys as p
    where p.pipeline_id = write_chunk.pipeline_id and p.id = any (write_chunk.entry_ids)
    returning coalesce(p.first_entry, p.id) as id, p.keys, p.queued_at, p.may_repeat
  ), keys as (
    -- a row edited twice is sent once
    select e.key, min(array[t.id, e.place]) as place
    from taken as t
    cross join lateral jsonb_array_elements(t.keys) with ordinality as e(key, place)
    group by e.key
  ), numbered as (
    select k.key, row_number() over (order by k.place) as n from keys as k
  )
  select
    jsonb_agg(q.key order by q.n) filter (where q.n <= write_chunk.chunk_size),
    jsonb_agg(q.key order by q.n) filter (where q.n > write_chunk.chunk_size),
    (select max(t.queued_at) from taken as t),
    (select bool_or(t.may_repeat) from taken as t),
    (select min(t.id) from taken as t)
  into strict v_keys, v_rest, v_queued_at, v_may_repeat, v_oldest_entry
  from numbered as q;

  if v_rest is not null then
    -- The remainder keeps its place at the head of the queue.
    insert into rowmill.pending_keys (pipeline_id, id, keys, row_count, only_missing, queued_at, may_repeat, first_entry)
    overriding system value
    values (write_chunk.pipeline_id, write_chunk.entry_ids[cardinality(write_chunk.entry_ids)], v_rest, jsonb_array_length(v_rest),
      write_chunk.only_missing, v_queued_at, v_may_repeat, v_oldest_entry);
  end if;

  insert into rowmill.chunks (pipeline_id, keys, row_count, only_missing, may_repeat, oldest_entry, version)
  values (write_chunk.pipeline_id, v_keys, jsonb_array_length(v_keys), write_chunk.only_missing, v_may_repeat, v_oldest_entry,
    write_chunk.version)
  returning id into strict v_chunk_id;
  return v_chunk_id;
end;
$$;
comment on function rowmill.write_chunk is
  'Turns entries of the queue into a waiting chunk and returns its id; what is more than chunk_size keys stays in the queue.';
revoke all on function rowmill.write_chunk from public;

-- API: internal
create or replace function rowmill.ago(at timestamptz)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when d.seconds < 120 then format('%s s ago', greatest(round(d.seconds), 0))
    when d.seconds < 7200 then format('%s minutes ago', round(d.seconds / 60))
    when d.seconds < 172800 then format('%s hours ago', round(d.seconds / 3600))
    else format('%s days ago', round(d.seconds / 86400))
  end
  from (select extract(epoch from clock_timestamp() - ago.at) as seconds) as d;
$$;
comment on function rowmill.ago is
  'How long ago that was, in words.';
revoke all on function rowmill.ago from public;

-- API: internal
create or replace function rowmill.answer_to(ping rowmill.pings)
returns rowmill.probe
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_net text := 'net';
  v_headers jsonb;
  v_probe rowmill.probe;
begin
  -- By time first: there is no index on the id, and after a crash another request may have the same one.
  execute format(
    $sql$
    select r.created, r.status_code, r.timed_out, r.error_msg, r.content, r.content_type, r.headers
    from %I._http_response as r
    where r.created between $1 - interval '5 seconds' and $1 + interval '10 minutes' and r.id = $2
    limit 1
    $sql$, v_net
  )
  into v_probe.taken_at, v_probe.status_code, v_probe.timed_out, v_probe.error_msg, v_probe.content, v_probe.content_type, v_headers
  using (answer_to.ping).sent_at, (answer_to.ping).request_id;
  -- Another's answer, where it names another ping or a chunk.
  if v_probe.taken_at is null or v_probe.status_code between 200 and 299 and coalesce(
    rowmill.json_or_null(v_probe.content) ? 'chunk_id'
    or rowmill.json_or_null(v_probe.content) ->> 'ping' <> (answer_to.ping).id::text,
    false
  ) then
    return null;
  end if;
  v_probe.ping_id := (answer_to.ping).id;
  v_probe.sent_at := (answer_to.ping).sent_at;
  select h.value into v_probe.server_date from jsonb_each_text(v_headers) as h where lower(h.key) = 'date' limit 1;
  return v_probe;
end;
$$;
comment on function rowmill.answer_to is
  'The answer to a ping; nulls where there is none. For callers that have asked may_read(''net._http_response'').';
revoke all on function rowmill.answer_to from public;

-- API: internal
create or replace function rowmill.are_triggers_silenced()
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select current_setting('session_replication_role') = 'replica' or exists (
    select
    from pg_db_role_setting as s
    cross join lateral unnest(s.setconfig) as c(setting)
    where s.setdatabase in (0, (select d.oid from pg_database as d where d.datname = current_database()))
    and c.setting = 'session_replication_role=replica'
  );
$$;
comment on function rowmill.are_triggers_silenced is
  'Whether session_replication_role is replica here, or for some role or database: then triggers do not fire.';
revoke all on function rowmill.are_triggers_silenced from public;

-- API: worker
create or replace function rowmill.doctor()
returns setof rowmill.diagnosis
language plpgsql
security definer -- neither an operator's dashboard nor the worker has rights on the tables
set search_path = pg_catalog, pg_temp
set lock_timeout = '500ms' -- a table that somebody has locked is a finding, not a wait
as $$
declare
  v_name text;
  v_verdict text;
  v_found text;
  v_remedy text;
begin
  begin
    perform rowmill.post_probes();
  exception when others then
    null; -- read-only, or a secret that is none: the checks say so
  end;
  foreach v_name in array rowmill.doctor_checks() loop
    begin
      execute format('select f.verdict, f.found, f.remedy from rowmill.examine_%s() as f', replace(v_name, ' ', '_'))
      into strict v_verdict, v_found, v_remedy;
    exception when others then
      v_verdict := 'fault';
      v_found := format('the check itself failed: %s (%s)', sqlerrm, sqlstate);
      v_remedy := 'Mend what it says, or run the newest migrations: npm run migrate';
    end;
    return next row(v_name, v_verdict, v_found, v_remedy)::rowmill.diagnosis;
  end loop;
end;
$$;
comment on function rowmill.doctor is
  'Looks at everything that Rowmill needs; one row a check, always all of them: verdict ok, note, warning or fault, what was '
  'found, and what to do. Posts two signed pings, and judges those of a moment ago: ask again some seconds later. Never raises. '
  'docs/doctor.md explains each check.';
revoke all on function rowmill.doctor from public;

-- API: internal
create or replace function rowmill.doctor_checks()
returns text[]
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select array[
    'migrations', 'workers', 'pg_net', 'pg_net worker', 'endpoint', 'small post', 'large post', 'secret', 'clock', 'cron',
    'grants', 'worker role', 'table rights', 'triggers', 'pipelines', 'provider', 'prices', 'batches', 'queue', 'leases'
  ];
$$;
comment on function rowmill.doctor_checks is
  'The checks of doctor(), in their order; each is a function rowmill.examine_<name>().';
revoke all on function rowmill.doctor_checks from public;

-- API: internal
create or replace function rowmill.examine_batches()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found text[];
begin
  -- batches_open and batches_to_sweep serve each of these: what is over is not looked at.
  select array_agg(f.said order by f.place, f.id) into v_found
  from (
    select 1 as place, b.id,
      format('batch %s is being prepared since %s, longer than settings.adopt_after (%s)',
        b.id, rowmill.ago(b.created_at), s.adopt_after) as said
    from rowmill.batch_processing_details as b, rowmill.settings as s
    where b.state = 'preparing' and b.created_at < now() - s.adopt_after - interval '1 minute'
    and coalesce(b.lease_until, '-infinity') < now()
    union all
    select 2, b.id,
      format('batch %s was due for a look %s, more than ten times settings.poll_every (%s)',
        b.id, rowmill.ago(b.poll_at), s.poll_every)
    from rowmill.batch_processing_details as b, rowmill.settings as s
    where b.state = 'running' and b.poll_at < now() - greatest(s.poll_every * 10, interval '1 minute')
    union all
    select 3, b.id, format('batch %s runs since %s, and a batch has 24 hours', b.id, rowmill.ago(b.submitted_at))
    from rowmill.batch_processing_details as b
    where b.state = 'running' and b.submitted_at < now() - interval '25 hours'
    union all
    select 4, b.id,
      format('batch %s ended %s and its answers are not read%s',
        b.id, rowmill.ago(b.ended_at), coalesce(': ' || b.problem, ''))
    from rowmill.batch_processing_details as b
    where b.state = 'ended' and b.ended_at < now() - interval '10 minutes' and coalesce(b.lease_until, '-infinity') < now()
    union all
    select 5, b.id,
      format('batch %s ended %s and its files are not deleted%s',
        b.id, rowmill.ago(b.ended_at), coalesce(': ' || b.problem, ''))
    from rowmill.batch_processing_details as b
    where b.state = 'harvested' and b.ended_at < now() - interval '1 hour' and coalesce(b.lease_until, '-infinity') < now()
    union all
    select 6, b.id, format('what batch %s may have left at the provider was to be looked for %s', b.id, rowmill.ago(b.sweep_at))
    from rowmill.batch_processing_details as b
    where b.sweep_at < now() - interval '1 hour'
  ) as f;
  if v_found is null then
    return row('ok', 'none is stuck', null)::rowmill.finding;
  end if;
  return row(
    'warning', rowmill.first_few(v_found),
    'A worker that runs takes them on. Where one runs, its log says why not; cancel_batch(id) gives a running one up.'
  )::rowmill.finding;
end;
$$;
comment on function rowmill.examine_batches is
  'Batches in preparation beyond settings.adopt_after, ten times overdue for a look, running for 25 hours, ended and not read for '
  '10 minutes, files not deleted for an hour.';
revoke all on function rowmill.examine_batches from public;

-- API: internal
create or replace function rowmill.examine_clock()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_probe rowmill.probe := rowmill.probe_of(false);
  v_is_refused boolean := coalesce(rowmill.json_or_null(v_probe.content) -> 'error' ->> 'code' = 'bad_timestamp', false);
  v_seconds numeric;
  v_difference text;
begin
  if rowmill.has_arrived(v_probe) then
    v_seconds := extract(epoch from (rowmill.json_or_null(v_probe.content) ->> 'now')::timestamptz - v_probe.taken_at);
  elsif v_is_refused then
    v_seconds := extract(epoch from v_probe.server_date::timestamptz - v_probe.taken_at);
  else
    return row('note', 'the worker''s is not known until it answers a post', 'See the small post.')::rowmill.finding;
  end if;
  v_difference := format('the worker''s clock is %s s %s the database''s',
    round(abs(v_seconds)), case when v_seconds < 0 then 'behind' else 'ahead of' end);
  return case
    -- The date of the answer is a proxy's, where there is one: it need not show what the worker's clock does.
    when v_is_refused then row(
      'fault',
      case when abs(v_seconds) > 300
        then v_difference || ', and it refuses every post'
        else 'the worker''s clock is more than 5 minutes off the database''s, and it refuses every post'
      end,
      'Set both clocks by NTP.'
    )::rowmill.finding
    when abs(v_seconds) > 30 then row(
      'warning', v_difference, 'Set both clocks by NTP. Beyond 5 minutes posts are refused.'
    )::rowmill.finding
    else row('ok', format('the worker''s differs from the database''s by %s s', round(abs(v_seconds))), null)::rowmill.finding
  end;
end;
$$;
comment on function rowmill.examine_clock is
  'How far the worker''s clock is from the database''s, to about a second.';
revoke all on function rowmill.examine_clock from public;

-- API: internal
create or replace function rowmill.examine_cron()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cron text := 'cron';
  v_mistrust rowmill.finding := rowmill.judge_schema('cron', array['job', 'job_run_details', 'schedule', 'unschedule']);
  v_has_workers boolean := (rowmill.examine_workers()).verdict <> 'fault';
  v_jobid bigint;
  v_active boolean;
  v_schedule text;
begin
  if v_mistrust.verdict is not null then
    return v_mistrust;
  end if;
  if rowmill.may_read('cron.job') then
    execute format(
      $sql$
      select j.jobid, j.active, j.schedule
      from %I.job as j
      where j.jobname = $1 or j.command ilike $2
      order by (j.jobname = $1) is true desc, j.active desc
      limit 1
      $sql$, v_cron
    )
    into v_jobid, v_active, v_schedule
    using 'rowmill tick', '%rowmill.tick%';
  end if;
  if v_jobid is null then
    return row(
      case when v_has_workers then 'note' else 'warning' end,
      case when rowmill.may_read('cron.job') then 'pg_cron has no job that ticks' else 'pg_cron is not there' end
        || case when v_has_workers then ': workers tick' else ', and no worker ticks either' end,
      'select rowmill.schedule(); where pg_cron is installed'
    )::rowmill.finding;
  end if;
  if not v_active then
    return row('warning', 'its job is switched off', format('select cron.alter_job(%s, active => true);', v_jobid))::rowmill.finding;
  end if;
  if not rowmill.may_read('cron.job_run_details') then
    return row(
      'note', format('scheduled (%s); its runs may not be read', v_schedule),
      format('grant select on cron.job_run_details to %I;', current_user)
    )::rowmill.finding;
  end if;
  return rowmill.judge_cron_runs(v_jobid, v_schedule);
end;
$$;
comment on function rowmill.examine_cron is
  'Whether a job of pg_cron calls rowmill.tick(), and lately with success.';
revoke all on function rowmill.examine_cron from public;

-- API: internal
create or replace function rowmill.examine_endpoint()
returns rowmill.finding
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when s.endpoint_url is null then row(
      'note', 'not set: chunks are not posted, workers fetch them',
      'select rowmill.set_endpoint(''https://worker.example.com'', ''whsec_…'');'
    )::rowmill.finding
    when u.bare ~ '^http://'
    and u.bare !~ '^http://(localhost|127\.|10\.|192\.168\.|172\.(1[6-9]|2[0-9]|3[01])\.|\[|[^./:]+([:/]|$))' then row(
      'warning', 'rows travel unencrypted: ' || u.url,
      'Put TLS before the worker: select rowmill.set_endpoint(''https://worker.example.com'');'
    )::rowmill.finding
    else row('ok', u.url, null)::rowmill.finding
  end
  from rowmill.settings as s
  cross join lateral (
    select
      rowmill.shown_url(s.endpoint_url) as url,
      regexp_replace(s.endpoint_url, '//[^/@]*@', '//') as bare
  ) as u;
$$;
comment on function rowmill.examine_endpoint is
  'Where chunks are posted.';
revoke all on function rowmill.examine_endpoint from public;

-- API: internal
create or replace function rowmill.examine_grants()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found text[];
  v_remedies text[];
begin
  -- What such a role inherits counts as well; 0 is PUBLIC.
  with outsiders as (
    select 0::oid as role, 'public' as name
    union all
    select r.oid, r.rolname from pg_roles as r where r.rolname in ('anon', 'authenticated')
  ), granted as (
    select g.thing, g.kind, a.grantee, a.privilege_type
    from (
      select p.oid::regprocedure::text as thing, 'function' as kind, coalesce(p.proacl, acldefault('f', p.proowner)) as acl
      from pg_proc as p where p.pronamespace = 'rowmill'::regnamespace
      union all
      select c.oid::regclass::text, case c.relkind when 'S' then 'sequence' else 'table' end, c.relacl
      from pg_class as c where c.relnamespace = 'rowmill'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S')
      union all
      select c.oid::regclass::text, 'table', t.attacl
      from pg_attribute as t join pg_class as c on c.oid = t.attrelid
      where c.relnamespace = 'rowmill'::regnamespace and t.attacl is not null
      union all
      select n.nspname, 'schema', n.nspacl from pg_namespace as n where n.nspname = 'rowmill'
    ) as g
    cross join lateral aclexplode(g.acl) as a
  ), too_much as (
    select o.name as outsider, g.kind, g.thing, case when g.grantee = 0 then 'public' else quote_ident(r.rolname) end as grantee,
      string_agg(distinct lower(g.privilege_type), ', ') as privileges
    from granted as g
    join outsiders as o on g.grantee = o.role or (o.role <> 0 and g.grantee <> 0 and pg_has_role(o.role, g.grantee, 'usage'))
    left join pg_roles as r on r.oid = g.grantee
    group by 1, 2, 3, 4
  )
  select
    array_agg(format('%s: %s on %s', t.outsider, t.privileges, t.thing) order by t.kind, t.thing, t.outsider),
    array_agg(distinct format('revoke all on %s %s from %s;', t.kind, t.thing, t.grantee))
  into v_found, v_remedies
  from too_much as t;
  if v_found is null then
    return row('ok', 'nothing of schema rowmill is open to public, anon or authenticated', null)::rowmill.finding;
  end if;
  return row('fault', rowmill.first_few(v_found), array_to_string(v_remedies, ' '))::rowmill.finding;
end;
$$;
comment on function rowmill.examine_grants is
  'Whether functions, tables, views, sequences and the schema are closed to public, anon and authenticated.';
revoke all on function rowmill.examine_grants from public;

-- API: internal
create or replace function rowmill.examine_large_post()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_finding rowmill.finding := rowmill.judge_probe(rowmill.probe_of(true));
begin
  if exists (select from rowmill.settings as s where not s.post_rows) then
    return row('ok', 'not needed: settings.post_rows is false, so that posts carry no rows', null)::rowmill.finding;
  end if;
  if v_finding.verdict = 'fault' then
    if not rowmill.has_arrived(rowmill.probe_of(false)) then
      v_finding.remedy := 'See the small post first.';
    else
      -- What travels late is fetched: nothing stands still.
      v_finding.verdict := 'warning';
      v_finding.found := 'small posts arrive, and one of 1 MB does not: ' || v_finding.found;
      v_finding.remedy := 'update rowmill.settings set post_rows = false;';
    end if;
  end if;
  return v_finding;
end;
$$;
comment on function rowmill.examine_large_post is
  'Whether a post of 1.1 MB arrives: some builds of pg_net, and some proxies, stall on large ones.';
revoke all on function rowmill.examine_large_post from public;

-- API: internal
create or replace function rowmill.examine_leases()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_chunks bigint;
  v_rows bigint;
  v_oldest timestamptz;
begin
  select count(*), sum(c.row_count), min(c.lease_until) into strict v_chunks, v_rows, v_oldest
  from rowmill.pipelines as p
  join rowmill.chunks as c on c.pipeline_id = p.id
  where c.state in ('waiting', 'accepted') and c.state = 'accepted' and c.lease_until < now() - interval '1 minute';
  if v_chunks = 0 then
    return row('ok', 'no dead worker holds rows', null)::rowmill.finding;
  end if;
  return row(
    'warning',
    format('%s rows stand in %s chunks of workers that are gone, the first since %s', v_rows, v_chunks, rowmill.ago(v_oldest)),
    'select rowmill.tick();'
  )::rowmill.finding;
end;
$$;
comment on function rowmill.examine_leases is
  'Rows under leases that ran out a minute ago and were not released, which is the tick''s to do.';
revoke all on function rowmill.examine_leases from public;

-- API: internal
create or replace function rowmill.examine_migrations()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_names text[];
  v_mistrust rowmill.finding := rowmill.judge_schema('supabase_migrations', array['schema_migrations']);
begin
  if v_mistrust.verdict is not null then
    return v_mistrust;
  end if;
  if not rowmill.has_migration_list() then
    return row('warning', 'no list tells which are applied', 'npm run migrate')::rowmill.finding;
  end if;
  -- Dynamic: the table need not be there when this function is made.
  execute $sql$
    select array_agg(m.name order by m.version) from supabase_migrations.schema_migrations as m where m.name ~ '^rowmill_\d'
  $sql$
  into v_names;
  if v_names is null then
    return row('fault', 'the list has none of Rowmill''s, and yet its functions are here', 'npm run migrate')::rowmill.finding;
  end if;
  return row('ok', format('applied: %s', array_to_string(v_names, ', ')), null)::rowmill.finding;
end;
$$;
comment on function rowmill.examine_migrations is 'Which migrations are applied. Which there are, npm run doctor knows.';
revoke all on function rowmill.examine_migrations from public;

-- API: internal
create or replace function rowmill.examine_pg_net()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_version text := (select e.extversion from pg_extension as e where e.extname = 'pg_net');
  v_arguments text;
  v_mistrust rowmill.finding := rowmill.judge_schema(
    'net', array['http_post', 'check_worker_is_up', 'http_request_queue', '_http_response']
  );
begin
  if v_mistrust.verdict is not null then
    return v_mistrust;
  end if;
  if rowmill.has_pg_net() then
    if rowmill.may_read('net._http_response') then
      return row('ok', coalesce('version ' || v_version, 'there'), null)::rowmill.finding;
    end if;
    return row(
      'note', 'there, and its table of answers may not be read',
      format('grant select on net._http_response to %I;', current_user)
    )::rowmill.finding;
  end if;
  select string_agg(p.oid::regprocedure::text, ', ') into v_arguments
  from pg_proc as p
  join pg_namespace as n on n.oid = p.pronamespace
  where n.nspname = 'net' and p.proname = 'http_post';
  if v_arguments is not null then
    return row(
      'warning', format('there, and closed to %s or of another form: %s', current_user, v_arguments),
      format('grant usage on schema net to %I; or update the extension.', current_user)
    )::rowmill.finding;
  end if;
  return row(
    'note', 'not installed: chunks are not posted, workers fetch them',
    case
      when exists (select from pg_available_extensions as e where e.name = 'pg_net') then 'create extension pg_net;'
      else 'Nothing needs it. In Supabase: Database, Extensions, pg_net.'
    end
  )::rowmill.finding;
end;
$$;
comment on function rowmill.examine_pg_net is
  'Whether pg_net is installed, trusted, of the form that is known, and open to Rowmill''s owner.';
revoke all on function rowmill.examine_pg_net from public;

-- API: internal
create or replace function rowmill.examine_pg_net_worker()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_net text := 'net';
  v_database text := nullif(current_setting('pg_net.database_name', true), '');
  v_is_up boolean;
begin
  if not rowmill.has_pg_net() then
    return row('note', 'not needed without pg_net', 'See pg_net.')::rowmill.finding;
  end if;
  if v_database <> current_database() then
    return row(
      'fault', format('it serves database %I and no other', v_database),
      format('In postgresql.conf: pg_net.database_name = %L, then restart Postgres; or install Rowmill in %I.',
        current_database(), v_database)
    )::rowmill.finding;
  end if;
  if not pg_has_role(current_user, 'pg_read_all_stats', 'usage') then
    return row(
      'note', format('not known: %s may not see processes of others', current_user),
      format('grant pg_monitor to %I;', current_user)
    )::rowmill.finding;
  end if;
  if rowmill.may_use('net.check_worker_is_up', '{}') then
    begin
      execute format('select %I.check_worker_is_up()', v_net);
      v_is_up := true;
    exception when others then
      v_is_up := false;
    end;
  else
    v_is_up := exists (select from pg_stat_activity as a where a.backend_type ilike '%pg_net%');
  end if;
  if v_is_up then
    return row('ok', 'up', null)::rowmill.finding;
  end if;
  return row(
    'fault', 'down: what is posted stays in the queue',
    'Put pg_net into shared_preload_libraries and restart Postgres (in Supabase: restart the project).'
  )::rowmill.finding;
end;
$$;
comment on function rowmill.examine_pg_net_worker is
  'Whether pg_net''s own worker runs, and serves this database.';
revoke all on function rowmill.examine_pg_net_worker from public;

-- API: internal
create or replace function rowmill.examine_pipelines()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_structure text;
  v_verdict text := 'ok';
  v_found text[] := '{}'::text[];
  v_remedies text[] := '{}'::text[];
  v_count integer := 0;
begin
  for v_pipeline in select p.* from rowmill.pipelines as p where p.state <> 'dropped' order by p.id loop
    v_count := v_count + 1;
    v_structure := rowmill.structure_problem(v_pipeline.id);
    if v_structure is not null then
      v_verdict := 'fault';
      v_found := v_found || format('"%s": %s', v_pipeline.name, v_structure);
      v_remedies := v_remedies || case
        when v_structure = rowmill.trust_problem(array[v_pipeline.source, v_pipeline.target], v_pipeline.filter_uses)
          then format('Do what it says about "%s"; it goes on by itself.', v_pipeline.name)
        else format('select rowmill.drop_pipeline(%L); and create it again.', v_pipeline.name)
      end;
    elsif v_pipeline.state = 'paused' then
      v_verdict := case
        when v_pipeline.state_reason is not null and v_verdict <> 'fault' then 'warning'
        when v_verdict = 'ok' then 'note'
        else v_verdict
      end;
      v_found := v_found || format('"%s" is paused: %s', v_pipeline.name, coalesce(v_pipeline.state_reason, 'by hand'));
      v_remedies := v_remedies || format('select rowmill.resume_pipeline(%L);', v_pipeline.name);
    elsif v_pipeline.problem is not null then
      v_verdict := case when v_verdict = 'fault' then 'fault' else 'warning' end;
      v_found := v_found || format('"%s", %s: %s', v_pipeline.name, rowmill.ago(v_pipeline.problem_at), v_pipeline.problem);
      v_remedies := v_remedies || format('Mend what it says about "%s"; it goes on by itself.', v_pipeline.name);
    end if;
  end loop;
  if v_count = 0 then
    return row('note', 'there is none', 'select rowmill.create_pipeline(…), as the README has it.')::rowmill.finding;
  end if;
  if v_verdict = 'ok' then
    return row('ok', format('%s without a problem', v_count), null)::rowmill.finding;
  end if;
  return row(v_verdict, rowmill.first_few(v_found), array_to_string(v_remedies, ' '))::rowmill.finding;
end;
$$;
comment on function rowmill.examine_pipelines is
  'Pipelines that are paused or have a problem.';
revoke all on function rowmill.examine_pipelines from public;

-- API: internal
create or replace function rowmill.examine_prices()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_stuck text[];
  v_unknown text[];
  v_insert text := 'insert into rowmill.model_prices (model, input_usd, cached_input_usd, output_usd, as_of) '
    'values (%L, …, …, …, current_date); in dollars for a million tokens';
begin
  select
    array_agg(distinct p.model order by p.model)
      filter (where coalesce(p.budget_usd, p.daily_budget_usd, s.budget_usd, s.daily_budget_usd) is not null),
    array_agg(distinct p.model order by p.model)
  into v_stuck, v_unknown
  from rowmill.pipelines as p
  cross join rowmill.settings as s
  where p.state <> 'dropped' and rowmill.price_of(p.model) is null;
  return case
    when v_stuck is not null then row(
      'fault', format('none is known for %s, and a budget holds: nothing is sent', array_to_string(v_stuck, ', ')),
      format(v_insert, v_stuck[1])
    )::rowmill.finding
    when v_unknown is not null then row(
      'note', format('none is known for %s, so that costs are not', array_to_string(v_unknown, ', ')), format(v_insert, v_unknown[1])
    )::rowmill.finding
    else row('ok', 'known for every pipeline''s model', null)::rowmill.finding
  end;
end;
$$;
comment on function rowmill.examine_prices is
  'Whether model_prices knows the pipelines'' models: without a price, no budget can be kept.';
revoke all on function rowmill.examine_prices from public;

-- API: internal
create or replace function rowmill.examine_provider()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found text[];
begin
  select array_agg(f.said order by f.said) into v_found
  from (
    select format('it took no batch of "%s": %s', p.name, p.wait_reason) as said
    from rowmill.pipelines as p where p.state <> 'dropped' and p.wait_until is not null and p.wait_reason is not null
    union all
    select format('its queue for %s is full until %s', m.model, to_char(m.blocked_until at time zone 'UTC', 'HH24:MI:SS UTC'))
    from rowmill.model_states as m where m.blocked_until > now()
    union all
    select format('a look at batch %s failed: %s', b.id, b.problem)
    from rowmill.batch_processing_details as b where b.state in ('preparing', 'running') and b.problem is not null
  ) as f;
  if v_found is null then
    return row('ok', 'workers note nothing against it', null)::rowmill.finding;
  end if;
  return row(
    'warning', rowmill.first_few(v_found),
    'Workers try again by themselves. A wrong key: start them with a right OPENAI_API_KEY; npm run doctor asks the provider itself.'
  )::rowmill.finding;
end;
$$;
comment on function rowmill.examine_provider is
  'What workers noted against the provider: batches that it did not take, looks that failed.';
revoke all on function rowmill.examine_provider from public;

-- API: internal
create or replace function rowmill.examine_queue()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found text[];
  v_waits text[];
begin
  -- One look into an index for each pipeline and kind, however much is queued.
  select
    array_agg(f.said order by f.at) filter (where f.reason is null and f.at < now() - f.patience),
    array_agg(f.reason order by f.at) filter (where f.reason is not null)
  into v_found, v_waits
  from (
    select c.formed_at as at, s.fetch_after + interval '5 minutes' as patience, format('"%s": ', p.name) || c.wait_reason as reason,
      format('the oldest chunk of "%s" was formed %s and no worker took it, though after %s any may',
        p.name, rowmill.ago(c.formed_at), s.fetch_after) as said
    from rowmill.pipelines as p
    cross join rowmill.settings as s
    cross join lateral (
      select c.formed_at, c.wait_reason from rowmill.chunks as c
      where c.pipeline_id = p.id and c.state in ('waiting', 'accepted') order by c.id limit 1
    ) as c
    where p.state = 'active'
    union all
    select k.queued_at, p.flush_after + interval '5 minutes', null,
      format('the oldest rows of "%s" were queued %s and are in no chunk, though they are grouped after %s',
        p.name, rowmill.ago(k.queued_at), p.flush_after)
    from rowmill.pipelines as p
    cross join lateral (
      select k.queued_at from rowmill.pending_keys as k
      where k.pipeline_id = p.id and k.queued_at <= now() order by k.id limit 1
    ) as k
    where p.state = 'active'
  ) as f;
  return case
    when v_found is not null then row(
      'warning', rowmill.first_few(v_found), 'Start a worker, or another one. Where one runs, see pipelines and the worker''s log.'
    )::rowmill.finding
    when v_waits is not null then row(
      'note', 'rows wait for room: ' || rowmill.first_few(v_waits),
      'They go on by themselves; select name, waiting_reason from rowmill.pipeline_status;'
    )::rowmill.finding
    else row('ok', 'nothing waits for too long', null)::rowmill.finding
  end;
end;
$$;
comment on function rowmill.examine_queue is
  'Chunks that wait for more than settings.fetch_after and 5 minutes, rows that wait for more than flush_after and 5 minutes.';
revoke all on function rowmill.examine_queue from public;

-- API: internal
create or replace function rowmill.examine_secret()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_again text := 'select rowmill.set_endpoint((select endpoint_url from rowmill.settings), ''whsec_…''); '
    'with the worker''s ROWMILL_INGEST_SECRET.';
  v_secret text;
  v_probe rowmill.probe;
  v_code text;
  v_mistrust rowmill.finding;
begin
  if exists (select from rowmill.settings as s where s.endpoint_url is null) then
    return row('note', 'not needed while nothing is posted', 'See the check of the endpoint.')::rowmill.finding;
  end if;
  v_mistrust := rowmill.judge_schema('vault', array['decrypted_secrets', 'create_secret', 'update_secret']);
  if v_mistrust.verdict is not null then
    return v_mistrust;
  end if;
  if not rowmill.has_ingest_secret() then
    return row('fault', 'there is none, so that nothing is posted', v_again)::rowmill.finding;
  end if;
  begin
    v_secret := rowmill.ingest_secret();
  exception when others then
    return row('fault', 'it is in Vault and cannot be decrypted, as after a backup was restored elsewhere', v_again)::rowmill.finding;
  end;
  if not coalesce(rowmill.is_secret(v_secret), false) then
    return row('fault', 'it is not of the form whsec_ and base64 of at least 24 bytes', v_again)::rowmill.finding;
  end if;
  v_probe := rowmill.probe_of(false);
  v_code := rowmill.json_or_null(v_probe.content) -> 'error' ->> 'code';
  return case
    when rowmill.has_arrived(v_probe) then row('ok', 'the worker has the same', null)::rowmill.finding
    when v_probe.status_code = 401 and v_code = 'no_secret' then row(
      'fault', 'the worker has none, so that it takes no posts',
      'Start the worker with ROWMILL_INGEST_SECRET, the secret that set_endpoint() was given.'
    )::rowmill.finding
    when v_probe.status_code = 401 and v_code = 'bad_signature' then row(
      'fault', 'the worker has another one', v_again
    )::rowmill.finding
    else row('note', 'well-formed; whether the worker has the same, a post that arrives will tell', 'See the small post.')::rowmill.finding
  end;
end;
$$;
comment on function rowmill.examine_secret is
  'Whether the secret that signs posts is there, and the worker''s own. It is in no finding.';
revoke all on function rowmill.examine_secret from public;

-- API: internal
create or replace function rowmill.examine_small_post()
returns rowmill.finding
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select f.* from rowmill.judge_probe(rowmill.probe_of(false)) as f;
$$;
comment on function rowmill.examine_small_post is
  'Whether a small post arrives at a worker.';
revoke all on function rowmill.examine_small_post from public;

-- API: internal
create or replace function rowmill.examine_table_rights()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found text[];
  v_remedies text[];
begin
  -- Behind row level security rows would be missing without a word.
  select array_agg(f.found order by f.place, f.n), array_agg(f.remedy order by f.place, f.n) into strict v_found, v_remedies
  from (
    select 1 as place, r.* from rowmill.lacking_rights() with ordinality as r(found, remedy, n)
    union all
    select 2, r.* from rowmill.hidden_rows() with ordinality as r(found, remedy, n)
  ) as f;
  if v_found is not null then
    return row('fault', rowmill.first_few(v_found), array_to_string(v_remedies, ' '))::rowmill.finding;
  end if;
  return row('ok', format('%s may read every source and write every output', current_user), null)::rowmill.finding;
end;
$$;
comment on function rowmill.examine_table_rights is
  'Whether Rowmill''s owner may read what prompts name and write the outputs, in all rows of the tables.';
revoke all on function rowmill.examine_table_rights from public;

-- API: internal
create or replace function rowmill.examine_triggers()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_fault record;
  v_errors record;
  v_lost record;
  v_found text[] := '{}'::text[];
  v_remedies text[] := '{}'::text[];
  v_notes text[] := '{}'::text[];
begin
  for v_pipeline in
    select p.* from rowmill.pipelines as p join pg_class as c on c.oid = p.source where p.state <> 'dropped' order by p.id
  loop
    for v_fault in select f.found, f.remedy from rowmill.trigger_faults(v_pipeline) as f loop
      v_found := v_found || v_fault.found;
      v_remedies := v_remedies || v_fault.remedy;
    end loop;
    v_errors := rowmill.trigger_errors_of(v_pipeline.id);
    v_lost := rowmill.lost_keys_problem(v_pipeline);
    if v_lost.problem is not null then
      v_found := v_found || v_lost.problem;
      v_remedies := v_remedies || v_lost.remedy;
    elsif v_errors.times > 0 then
      v_notes := v_notes || format('"%s": %s (%s times; the tick makes it good)', v_pipeline.name, v_errors.message, v_errors.times);
    end if;
  end loop;
  if rowmill.are_triggers_silenced() then
    v_found := v_found || 'session_replication_role is replica for some role or database, whose inserts fire no triggers'::text;
    v_remedies := v_remedies
      || 'alter role … reset session_replication_role; or alter database … reset session_replication_role;'::text;
  end if;
  return case
    when cardinality(v_found) > 0 then
      row('fault', rowmill.first_few(v_found), array_to_string(v_remedies, ' '))::rowmill.finding
    when cardinality(v_notes) > 0 then
      row('note', rowmill.first_few(v_notes), 'Should it stay for more than a minute, look at pipelines.')::rowmill.finding
    else row('ok', 'in place and enabled', null)::rowmill.finding
  end;
end;
$$;
comment on function rowmill.examine_triggers is
  'Whether every pipeline''s triggers are there and enabled, on its table and the partitions, and what went wrong in them.';
revoke all on function rowmill.examine_triggers from public;

-- API: internal
create or replace function rowmill.examine_worker_role()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_role name;
  v_roles text[] := '{}'::text[];
  v_found text[] := '{}'::text[];
  v_remedies text[] := '{}'::text[];
  v_functions text[];
begin
  for v_role in
    select r.rolname from pg_roles as r where r.rolname in ('rowmill_worker', 'service_role') order by r.rolname
  loop
    v_roles := v_roles || v_role::text;
    if not has_schema_privilege(v_role, 'rowmill', 'usage') then
      v_found := v_found || format('%s may not use schema rowmill', v_role);
      v_remedies := v_remedies || format('grant usage on schema rowmill to %I;', v_role);
    end if;
    v_functions := array(
      select w.oid::text from rowmill.worker_functions() as w(oid) where not has_function_privilege(v_role, w.oid, 'execute') order by 1
    );
    if cardinality(v_functions) > 0 then
      v_found := v_found || format('%s may not call %s', v_role, rowmill.first_few(v_functions, ', '));
      v_remedies := v_remedies || format('grant execute on function %s to %I;', array_to_string(v_functions, ', '), v_role);
    end if;
    -- A superuser may do anything, and so may whoever owns it all.
    continue when pg_has_role(v_role, (select n.nspowner from pg_namespace as n where n.nspname = 'rowmill'), 'usage');
    v_functions := array(
      select p.oid::regprocedure::text
      from pg_proc as p
      where p.pronamespace = 'rowmill'::regnamespace
      and has_function_privilege(v_role, p.oid, 'execute')
      and not exists (select from rowmill.worker_functions() as w(oid) where w.oid = p.oid)
      order by 1
    );
    if cardinality(v_functions) > 0 then
      v_found := v_found || format('%s may call more than a worker needs: %s', v_role, rowmill.first_few(v_functions, ', '));
      v_remedies := v_remedies || format('revoke all on function %s from %I, public;', array_to_string(v_functions, ', '), v_role);
    end if;
  end loop;
  if cardinality(v_roles) = 0 then
    return row(
      'note', 'there is no role rowmill_worker: workers connect as the owner',
      'create role rowmill_worker nologin; select rowmill.grant_to_workers();'
    )::rowmill.finding;
  end if;
  if cardinality(v_found) > 0 then
    return row('fault', rowmill.first_few(v_found), array_to_string(v_remedies, ' '))::rowmill.finding;
  end if;
  return row('ok', format('%s may call what a worker calls, and nothing else', array_to_string(v_roles, ' and ')), null)::rowmill.finding;
end;
$$;
comment on function rowmill.examine_worker_role is
  'Whether rowmill_worker, and service_role where there is one, may call exactly the worker''s functions.';
revoke all on function rowmill.examine_worker_role from public;

-- API: internal
create or replace function rowmill.examine_workers()
returns rowmill.finding
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when w.alive = 0 then row(
      'fault',
      case
        when w.seen_at is null then 'none was seen within a day'
        else format('none; the last was seen %s', rowmill.ago(w.seen_at))
      end,
      'Start one: npm start, with DATABASE_URL and OPENAI_API_KEY.'
    )::rowmill.finding
    when cardinality(w.versions) > 1 then row(
      'note', format('%s, of versions %s', w.alive, array_to_string(w.versions, ', ')), 'Bring all workers to one version.'
    )::rowmill.finding
    else row('ok', format('%s of version %s, seen %s', w.alive, w.versions[1], rowmill.ago(w.seen_at)), null)::rowmill.finding
  end
  from (
    select
      count(*) filter (where r.seen_at > now() - s.lease) as alive,
      max(r.seen_at) as seen_at,
      array_agg(distinct r.version) filter (where r.seen_at > now() - s.lease) as versions
    from rowmill.settings as s
    left join rowmill.workers as r on true
  ) as w;
$$;
comment on function rowmill.examine_workers is
  'Whether a worker was seen within settings.lease, and of which versions they are.';
revoke all on function rowmill.examine_workers from public;

-- API: internal
create or replace function rowmill.first_few(parts text[], separator text default '; ')
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select array_to_string(first_few.parts[1:5], first_few.separator)
    || case
      when cardinality(first_few.parts) > 5 then format('%sand %s more', first_few.separator, cardinality(first_few.parts) - 5)
      else ''
    end;
$$;
comment on function rowmill.first_few is
  'The first five, and how many more there are.';
revoke all on function rowmill.first_few from public;

-- API: internal
create or replace function rowmill.has_arrived(probe rowmill.probe)
returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce((has_arrived.probe).status_code = 200
    and rowmill.json_or_null((has_arrived.probe).content) ->> 'ping' = (has_arrived.probe).ping_id::text, false);
$$;
comment on function rowmill.has_arrived is
  'Whether a worker answered the ping.';
revoke all on function rowmill.has_arrived from public;

-- API: internal
create or replace function rowmill.hidden_rows()
returns table (found text, remedy text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select
    case
      when r.is_ours then
        format('row level security of %s is forced, and %s sees only what its policies show', r.relation, current_user)
      else format('row level security of %s hides rows from %s, who is not its owner', r.relation, current_user)
    end,
    case
      when r.is_ours then format('alter table %s no force row level security;', r.relation)
      else format('alter role %I bypassrls;', current_user)
    end
  from (
    select distinct c.oid::regclass as relation, pg_has_role(c.relowner, 'usage') as is_ours
    from rowmill.pipelines as p
    join pg_class as c on c.oid in (p.source, p.target)
    where p.state <> 'dropped' and row_security_active(c.oid)
  ) as r
  order by r.relation;
$$;
comment on function rowmill.hidden_rows is
  'The pipelines'' tables of which row level security hides rows from Rowmill''s owner, and what shows them.';
revoke all on function rowmill.hidden_rows from public;

-- API: internal
create or replace function rowmill.json_or_null(content text)
returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return json_or_null.content::jsonb;
exception when others then
  return null;
end;
$$;
comment on function rowmill.json_or_null is
  'A text read as JSON; null where it is none.';
revoke all on function rowmill.json_or_null from public;

-- API: internal
create or replace function rowmill.judge_answer(probe rowmill.probe)
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_url text;
  v_timeout integer;
begin
  select rowmill.shown_url(s.endpoint_url), s.post_timeout_ms
  into strict v_url, v_timeout
  from rowmill.settings as s;
  return case
    when (judge_answer.probe).timed_out then row(
      'fault', format('no answer from %s within %s ms', v_url, v_timeout),
      'Make the worker reachable from the database''s network: firewall, address, port. '
      'A slow one: update rowmill.settings set post_timeout_ms = 30000;'
    )::rowmill.finding
    when (judge_answer.probe).error_msg is not null then row(
      'fault', format('%s was not reached: %s', v_url, (judge_answer.probe).error_msg),
      'Start a worker there (HOST=0.0.0.0 where others reach it), or correct the address: '
      'select rowmill.set_endpoint(''https://worker.example.com'');'
    )::rowmill.finding
    when rowmill.has_arrived(judge_answer.probe) then row(
      'ok',
      format('a worker answered; pg_net took the post up after %s ms', greatest(0, round(
        extract(epoch from (judge_answer.probe).taken_at - (judge_answer.probe).sent_at) * 1000
      ))),
      null
    )::rowmill.finding
    else coalesce(
      rowmill.judge_refusal(rowmill.json_or_null((judge_answer.probe).content) -> 'error'),
      rowmill.judge_status(judge_answer.probe, v_url)
    )
  end;
end;
$$;
comment on function rowmill.judge_answer is
  'What the answer to a ping, or its absence, says.';
revoke all on function rowmill.judge_answer from public;

-- API: internal
create or replace function rowmill.judge_cron_runs(jobid bigint, schedule text)
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cron text := 'cron';
  v_status text;
  v_message text;
  v_failed_at timestamptz;
  v_succeeded_at timestamptz;
begin
  -- Only the newest runs: the table has no index by job, and grows.
  execute format(
    $sql$
    with runs as (
      select d.* from (select r.* from %I.job_run_details as r order by r.runid desc limit 1000) as d where d.jobid = $1
    )
    select
      (select d.status from runs as d where d.status in ('succeeded', 'failed') order by d.runid desc limit 1),
      (select d.return_message from runs as d where d.status = 'failed' order by d.runid desc limit 1),
      (select max(d.start_time) from runs as d where d.status = 'failed'),
      (select max(d.start_time) from runs as d where d.status = 'succeeded')
    $sql$, v_cron
  )
  into v_status, v_message, v_failed_at, v_succeeded_at
  using judge_cron_runs.jobid;
  return case
    when v_status = 'failed' then row(
      'fault',
      format('its job failed %s: %s',
        rowmill.ago(v_failed_at), left(regexp_replace(coalesce(v_message, 'without a word'), '\s+', ' ', 'g'), 200)),
      format('Mend what it says; its runs: select * from cron.job_run_details where jobid = %s order by runid desc limit 5;',
        judge_cron_runs.jobid)
    )::rowmill.finding
    when v_succeeded_at is null then row(
      'note', format('scheduled (%s); no run of it is known yet', judge_cron_runs.schedule),
      'Ask again in a minute. Should it stay so, look whether pg_cron''s own process runs, and at cron.log_run.'
    )::rowmill.finding
    when v_succeeded_at < now() - interval '10 minutes' then row(
      'warning', format('its job has not run since %s', rowmill.ago(v_succeeded_at)),
      'Restart Postgres: pg_cron''s own process seems to be down.'
    )::rowmill.finding
    else row('ok', format('runs (%s), last %s', judge_cron_runs.schedule, rowmill.ago(v_succeeded_at)), null)::rowmill.finding
  end;
end;
$$;
comment on function rowmill.judge_cron_runs is
  'How the last runs of the job of pg_cron went that ticks. For callers that have asked may_read(''cron.job_run_details'').';
revoke all on function rowmill.judge_cron_runs from public;

-- API: internal
create or replace function rowmill.judge_probe(probe rowmill.probe)
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_why_not text := rowmill.why_no_post();
begin
  return case
    when v_why_not is not null then row(
      'note', 'nothing is posted: ' || v_why_not, 'Workers fetch what nobody posts. See pg_net, endpoint and secret.'
    )::rowmill.finding
    when (probe).newest_at is null then row(
      'note', 'nothing could be posted',
      'Call doctor() outside of a read-only transaction, with settings.post_rows as you want it.'
    )::rowmill.finding
    when (probe).newest_state = 'queued' then row(
      'fault', format('posted %s, and still in pg_net''s queue', rowmill.ago((probe).newest_at)), 'See the check of pg_net''s worker.'
    )::rowmill.finding
    when (probe).newest_state = 'lost' then row(
      'warning',
      format('posted %s, and pg_net has neither the post nor an answer: a crash empties its tables. Another one was posted',
        rowmill.ago((probe).newest_at)),
      'Ask again in some seconds: select * from rowmill.doctor();'
    )::rowmill.finding
    when (probe).ping_id is null then row(
      'note', format('posted %s, and not answered yet', rowmill.ago((probe).newest_at)),
      'Ask again in some seconds: select * from rowmill.doctor();'
    )::rowmill.finding
    else rowmill.judge_answer(probe)
  end;
end;
$$;
comment on function rowmill.judge_probe is
  'What became of a ping.';
revoke all on function rowmill.judge_probe from public;

-- API: internal
create or replace function rowmill.judge_refusal(error jsonb)
returns rowmill.finding
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when e.code in ('bad_signature', 'no_secret') then row(
      'warning', 'it arrived, and the worker does not believe its signature', 'See the check of the secret.'
    )::rowmill.finding
    when e.code = 'bad_timestamp' then row(
      'warning', 'it arrived, and the worker''s clock says that it is not of now', 'See the check of the clock.'
    )::rowmill.finding
    when e.code in ('busy', 'database_unreachable') then row(
      'note',
      format('it arrived, and the worker turned it away for now: %s', left(judge_refusal.error ->> 'message', 100)),
      'Ask again in a minute. Should it stay so, look at the worker''s log.'
    )::rowmill.finding
  end
  from (select judge_refusal.error ->> 'code' as code) as e;
$$;
comment on function rowmill.judge_refusal is
  'What an error says that a worker answered a ping with; null where it is none that says something about posts.';
revoke all on function rowmill.judge_refusal from public;

-- API: internal
create or replace function rowmill.judge_schema(schema text, names text[])
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_untrusted text[] := rowmill.untrusted_in(judge_schema.schema, judge_schema.names);
begin
  if v_untrusted is null then
    return null;
  end if;
  return row(
    'fault',
    format('not used: its code would run with the rights of %I, and its owner is not trusted: %s',
      current_user, rowmill.first_few(v_untrusted)),
    format('Drop what should not be there. What should: give it to %1$I or to a superuser, e.g. alter schema %2$I owner to %1$I;',
      current_user, judge_schema.schema)
  )::rowmill.finding;
end;
$$;
comment on function rowmill.judge_schema is
  'A fault where an extension''s schema, or what these names mean in it, is not trusted (see is_trusted_object); else null.';
revoke all on function rowmill.judge_schema from public;

-- API: internal
create or replace function rowmill.judge_status(probe rowmill.probe, url text)
returns rowmill.finding
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_status integer := (judge_status.probe).status_code;
  v_elsewhere text := 'Correct the address: select rowmill.set_endpoint(''https://worker.example.com''); '
    'a worker takes posts at /v1/chunks.';
begin
  return case
    when v_status = 413 then row(
      'fault', format('%s, or a proxy before it, takes no body of that length (413)', judge_status.url),
      'Let the proxy take 8 MB, or post numbers without rows: update rowmill.settings set post_rows = false;'
    )::rowmill.finding
    when v_status = 422 then row(
      'warning', 'an older worker answers, which knows no pings', 'Bring the worker to the version of the migrations.'
    )::rowmill.finding
    when v_status in (502, 503, 504) then row(
      'fault', format('a proxy at %s answers that no worker is behind it (%s)', judge_status.url, v_status),
      'Start a worker, or correct the proxy.'
    )::rowmill.finding
    when v_status in (301, 302, 303, 404, 405) or coalesce((judge_status.probe).content_type, '') like 'text/html%' then row(
      'fault', format('something else than a worker answers at %s (%s)', judge_status.url, v_status), v_elsewhere
    )::rowmill.finding
    else row(
      'fault',
      format('%s answered %s instead of the ping: %s', judge_status.url, v_status,
        left(regexp_replace(coalesce((judge_status.probe).content, 'nothing'), '\s+', ' ', 'g'), 60)),
      v_elsewhere
    )::rowmill.finding
  end;
end;
$$;
comment on function rowmill.judge_status is
  'What an answer to a ping says that is neither the ping nor an error of a worker''s.';
revoke all on function rowmill.judge_status from public;

-- API: worker
create or replace function rowmill.knows_secret(
  challenge text,
  proof text -- base64 of the HMAC-SHA-256 of 'rowmill doctor ' and the challenge
)
returns boolean
language plpgsql
stable
security definer -- the worker has no rights on the secret
set search_path = pg_catalog, pg_temp
as $$
begin
  if not rowmill.has_ingest_secret() then
    return null;
  end if;
  return knows_secret.proof = encode(rowmill.hmac_sha256(
    convert_to('rowmill doctor ' || knows_secret.challenge, 'UTF8'), decode(substr(rowmill.ingest_secret(), 7), 'base64')
  ), 'base64');
exception when others then
  return null; -- it is malformed, or cannot be decrypted: see the check of the secret
end;
$$;
comment on function rowmill.knows_secret is
  'Whether somebody has the secret that signs posts, without either side saying it; null where there is none, or none that can be used.';
revoke all on function rowmill.knows_secret from public;

-- API: internal
create or replace function rowmill.lacking_rights()
returns table (found text, remedy text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with columns as (
    select p.source as relation, 'select' as privilege, k.attnum
    from rowmill.pipelines as p
    cross join lateral (
      select unnest(p.key_columns)
      union select (i.value ->> 'attnum')::smallint from jsonb_array_elements(p.inputs || p.filter_columns) as i
    ) as k(attnum)
    where p.state <> 'dropped'
    union
    select p.target, r.privilege, k.attnum
    from rowmill.pipelines as p
    cross join lateral (
      select 'update' as privilege union all select 'select' union all select 'insert' where p.target <> p.source
    ) as r
    cross join lateral (
      select (o.value ->> 'attnum')::smallint from jsonb_array_elements(p.outputs || p.provenance) as o
      union select unnest(p.target_key_columns) where r.privilege <> 'update'
    ) as k(attnum)
    where p.state <> 'dropped'
  ), relations as (
    select c.oid::regclass as relation, x.privilege,
      string_agg(quote_ident(a.attname), ', ' order by a.attnum)
        filter (where not has_column_privilege(c.oid, a.attnum, x.privilege)) as missing,
      n.nspname as schema, has_schema_privilege(n.oid, 'usage') as is_open
    from columns as x
    join pg_class as c on c.oid = x.relation
    join pg_namespace as n on n.oid = c.relnamespace
    join pg_attribute as a on a.attrelid = c.oid and a.attnum = x.attnum and not a.attisdropped
    group by c.oid, x.privilege, n.oid, n.nspname
  )
  select
    case when r.is_open then format('%s may not %s %s of %s', current_user, r.privilege, r.missing, r.relation)
      else format('%s may not use schema %s', current_user, r.schema) end,
    case when r.is_open then format('grant %s (%s) on %s to %I;', r.privilege, r.missing, r.relation, current_user)
      else format('grant usage on schema %I to %I;', r.schema, current_user) end
  from relations as r
  where not r.is_open or r.missing is not null
  order by r.relation::text, r.privilege;
$$;
comment on function rowmill.lacking_rights is
  'What Rowmill''s owner may not do with the columns that pipelines read and write, and what allows it.';
revoke all on function rowmill.lacking_rights from public;

-- API: internal
create or replace function rowmill.missing_triggers(pipeline rowmill.pipelines)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(distinct format('%s on %s', w.name, w.relation), ', ')
  from (
    select format('rowmill_%s_update', (missing_triggers.pipeline).id) as name, (missing_triggers.pipeline).source as relation
    union all
    select format('rowmill_%s_insert', (missing_triggers.pipeline).id), (missing_triggers.pipeline).source
    -- Rows that are inserted straight into a partition fire its own statement triggers.
    union all
    select format('rowmill_%s_insert', (missing_triggers.pipeline).id), t.relid
    from pg_partition_tree((missing_triggers.pipeline).source) as t
  ) as w
  where not exists (select from pg_trigger as t where t.tgrelid = w.relation and t.tgname = w.name);
$$;
comment on function rowmill.missing_triggers is
  'The triggers that a pipeline''s table and its partitions lack; null where none is missing.';
revoke all on function rowmill.missing_triggers from public;

-- API: internal
create or replace function rowmill.post_probes()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_settings rowmill.settings;
  v_probe rowmill.probe;
  v_is_large boolean;
begin
  -- Without a look at the answers it would post at every call.
  if rowmill.why_no_post() is not null then
    return;
  end if;
  select s.* into strict v_settings from rowmill.settings as s;
  foreach v_is_large in array case when v_settings.post_rows then array[false, true] else array[false] end loop
    v_probe := rowmill.probe_of(v_is_large);
    if v_probe.newest_at is null
      or v_probe.newest_at < now() - interval '1 minute'
      or v_probe.newest_state = 'lost'
      -- Somebody may have mended it.
      or (v_probe.newest_state = 'answered' and not rowmill.has_arrived(v_probe) and v_probe.newest_at < now() - interval '3 seconds')
    then
      -- From 1 MiB on curl asks first whether a body is welcome, which not every proxy understands.
      perform rowmill.post_ping('doctor', case when v_is_large then 1100000 else 0 end);
    end if;
  end loop;
end;
$$;
comment on function rowmill.post_probes is
  'Posts a small and a large ping where none was posted within the last minute, or where the last one failed. Raises where the '
  'secret is none.';
revoke all on function rowmill.post_probes from public;

-- API: internal
create or replace function rowmill.probe_of(is_large boolean)
returns rowmill.probe
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_aim text := rowmill.ping_aim();
  v_ping rowmill.pings;
  v_answer rowmill.probe;
  v_newest_at timestamptz;
  v_newest_state text;
begin
  if v_aim is null or not rowmill.may_read('net._http_response') then
    return null;
  end if;
  for v_ping in
    select p.*
    from rowmill.pings as p
    where p.purpose = 'doctor' and p.aim = v_aim and p.request_id is not null
    and (p.bytes > 100000) = probe_of.is_large
    and p.sent_at > now() - interval '10 minutes'
    order by p.id desc
  loop
    v_answer := rowmill.answer_to(v_ping);
    if v_newest_at is null then
      v_newest_at := v_ping.sent_at;
      v_newest_state := case when v_answer.ping_id is null then rowmill.unanswered_state(v_ping) else 'answered' end;
    end if;
    exit when v_answer.ping_id is not null;
  end loop;
  v_answer.newest_at := v_newest_at;
  v_answer.newest_state := v_newest_state;
  return v_answer;
end;
$$;
comment on function rowmill.probe_of is
  'What became of the small or the large pings of the last ten minutes that went to today''s endpoint under today''s secret.';
revoke all on function rowmill.probe_of from public;

-- API: worker
create or replace function rowmill.probes_under_way()
returns table (probes integer, now_ms double precision)
language sql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
  select
    (
      ((rowmill.probe_of(false)).newest_state is not distinct from 'open')::integer
      + ((rowmill.probe_of(true)).newest_state is not distinct from 'open')::integer
    ),
    extract(epoch from clock_timestamp())::double precision * 1000;
$$;
comment on function rowmill.probes_under_way is
  'How many of doctor()''s posts may yet be answered, and what time it is here, in milliseconds since 1970.';
revoke all on function rowmill.probes_under_way from public;

-- API: internal
create or replace function rowmill.shown_url(url text)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  -- What an address may hide is shown to nobody.
  select regexp_replace(regexp_replace(shown_url.url, '//[^/@]*@', '//***@'), '\?.*$', '?***');
$$;
comment on function rowmill.shown_url is
  'An address without the user, the password and the query that may stand in it.';
revoke all on function rowmill.shown_url from public;

-- API: internal
create or replace function rowmill.trigger_errors_of(pipeline_id bigint, out times bigint, out message text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select count(*), (array_agg(e.message order by e.happened_at desc))[1]
  from (
    select e.message, e.happened_at
    from rowmill.trigger_errors as e
    where e.pipeline_id = trigger_errors_of.pipeline_id
    order by e.happened_at desc
    limit 1000
  ) as e;
$$;
comment on function rowmill.trigger_errors_of is 'How often a pipeline''s triggers failed of late, and the message to show.';
revoke all on function rowmill.trigger_errors_of from public;

-- API: internal
create or replace function rowmill.trigger_faults(pipeline rowmill.pipelines)
returns table (found text, remedy text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_missing text := rowmill.missing_triggers(trigger_faults.pipeline);
begin
  if v_missing is not null then
    return query select
      format('"%s" lacks %s, so that rows are not queued', (trigger_faults.pipeline).name, v_missing),
      format(
        'select rowmill.write_trigger_functions(%1$s); select rowmill.attach_triggers(%1$s); '
        'select rowmill.backfill(%2$L, only_missing => true);',
        (trigger_faults.pipeline).id, (trigger_faults.pipeline).name
      );
  end if;
  return query
  select
    format('%s on %s is disabled, so that rows are not queued', d.name, d.relation),
    format('alter table %s enable trigger %I;', d.relation, d.name)
  from (
    select t.tgrelid::regclass as relation, t.tgname as name
    from pg_trigger as t
    where t.tgrelid in (
      select (trigger_faults.pipeline).source union select p.relid from pg_partition_tree((trigger_faults.pipeline).source) as p
    )
    and t.tgname like format('rowmill\_%s\_%%', (trigger_faults.pipeline).id) and t.tgenabled in ('D', 'R')
  ) as d
  order by d.relation, d.name;
end;
$$;
comment on function rowmill.trigger_faults is
  'What is missing or disabled of a pipeline''s triggers, and what puts it right.';
revoke all on function rowmill.trigger_faults from public;

-- API: internal
create or replace function rowmill.unanswered_state(ping rowmill.pings)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_net text := 'net';
  v_patience interval;
  v_is_queued boolean := false;
begin
  -- Its own time, and that of a round that was under way before.
  select 2 * s.post_timeout_ms * interval '1 millisecond' + interval '5 seconds' into strict v_patience from rowmill.settings as s;
  if (unanswered_state.ping).sent_at > clock_timestamp() - v_patience then
    return 'open';
  end if;
  if rowmill.may_read('net.http_request_queue') then
    execute format('select exists (select from %I.http_request_queue as q where q.id = $1)', v_net)
    into strict v_is_queued
    using (unanswered_state.ping).request_id;
  end if;
  return case when v_is_queued then 'queued' else 'lost' end;
end;
$$;
comment on function rowmill.unanswered_state is
  'What a ping without an answer is: open, queued or lost (see the type probe).';
revoke all on function rowmill.unanswered_state from public;

-- API: internal
create or replace function rowmill.untrusted_in(schema text, names text[])
returns text[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with things as (
    select 1 as place, n.nspname::text as name, format('schema %I', n.nspname) as thing, n.nspowner as owner
    from pg_namespace as n
    where n.nspname = untrusted_in.schema and not rowmill.is_trusted_object('pg_namespace', n.oid, n.nspowner)
    union all
    select 2, c.relname, format('%s %s', case c.relkind when 'v' then 'view' else 'table' end, c.oid::regclass), c.relowner
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = untrusted_in.schema and c.relname = any (untrusted_in.names)
    and not rowmill.is_trusted_object('pg_class', c.oid, c.relowner)
    union all
    select 3, p.proname, format('function %s', p.oid::regprocedure), p.proowner
    from pg_proc as p
    join pg_namespace as n on n.oid = p.pronamespace
    where n.nspname = untrusted_in.schema and p.proname = any (untrusted_in.names)
    and not rowmill.is_trusted_object('pg_proc', p.oid, p.proowner)
    union all
    select 4, t.tgname, format('trigger %I on %s', t.tgname, c.oid::regclass), p.proowner
    from pg_trigger as t
    join pg_class as c on c.oid = t.tgrelid
    join pg_namespace as n on n.oid = c.relnamespace
    join pg_proc as p on p.oid = t.tgfoid
    where n.nspname = untrusted_in.schema and c.relname = any (untrusted_in.names)
    and not rowmill.is_trusted_object('pg_proc', p.oid, p.proowner)
  )
  select array_agg(format('%s of %I', t.thing, pg_get_userbyid(t.owner)) order by t.place, t.name, t.thing)
  from things as t;
$$;
comment on function rowmill.untrusted_in is
  'The schema, and the relations, functions and triggers of these names in it, that are not trusted (see is_trusted_object), '
  'each with its owner; null where there is none.';
revoke all on function rowmill.untrusted_in from public;

-- API: internal
create or replace function rowmill.why_no_post()
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when not exists (select from rowmill.settings as s where s.endpoint_url is not null) then 'no endpoint is set'
    when not rowmill.has_pg_net() then 'pg_net is not there to post with'
    when not rowmill.has_ingest_secret() then 'there is no secret to sign with'
    when rowmill.ping_aim() is null then 'the secret cannot be used'
    when not rowmill.may_read('net._http_response') then 'net._http_response may not be read'
  end;
$$;
comment on function rowmill.why_no_post is
  'Why doctor() can post nothing and see no answer; null where it can.';
revoke all on function rowmill.why_no_post from public;

-- API: internal
create or replace function rowmill.key_given(pipeline rowmill.pipelines, key text)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_columns integer := cardinality((key_given.pipeline).key_columns);
  v_given jsonb;
begin
  begin
    v_given := key_given.key::jsonb;
  exception when data_exception then
    null; -- a text that is no JSON
  end;
  if jsonb_typeof(v_given) = 'array' and jsonb_array_length(v_given) = v_columns then
    return v_given;
  end if;
  if v_columns = 1 then
    return jsonb_build_array(key_given.key);
  end if;
  raise exception using errcode = 'RM109',
    message = format('the key of %s has %s columns', (key_given.pipeline).source, v_columns),
    detail = format('key is %L.', key_given.key),
    hint = 'Give a JSON array in the order of the primary key, e.g. ''[42, "abc"]''.';
end;
$$;
comment on function rowmill.key_given is
  'A key as why() is given it, as a JSON array of its columns. Raises RM109 where it cannot be one.';
revoke all on function rowmill.key_given from public;

-- API: internal
create or replace function rowmill.keys_to_preview(pipeline_id bigint, max_rows integer, spread boolean)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with entries as (
    select 0 as place, c.id, c.keys
    from rowmill.chunks as c
    where c.pipeline_id = keys_to_preview.pipeline_id and c.state in ('waiting', 'accepted')
    union all
    select 1, k.id, k.keys
    from rowmill.pending_keys as k
    where k.pipeline_id = keys_to_preview.pipeline_id
  ), chosen as (
    select e.place, e.id, e.keys
    from entries as e
    order by case when keys_to_preview.spread then md5(e.place || '.' || e.id) end, e.place, e.id
    limit case when keys_to_preview.spread then 50 else keys_to_preview.max_rows end
  ), keys as (
    select c.place, c.id, e.n, e.value
    from chosen as c
    cross join lateral jsonb_array_elements(c.keys) with ordinality as e(value, n)
    order by case when keys_to_preview.spread then md5(c.id || '.' || e.n) end, c.place, c.id, e.n
    limit keys_to_preview.max_rows
  )
  select jsonb_agg(k.value) from keys as k;
$$;
comment on function rowmill.keys_to_preview is
  'Keys that are queued, for preview_rows(): those that are next or, spread, some from all over the queue; null where none is.';
revoke all on function rowmill.keys_to_preview from public;

-- API: public
create or replace function rowmill.preview_cost(
  pipeline text,
  requests integer,
  raw_input_tokens bigint, -- by the tokenizer
  max_output_tokens bigint -- the sum of the requests' own limits; null: they have none
)
returns table (
  input_tokens bigint, output_tokens bigint, estimated_usd numeric, most_usd numeric, price_as_of date,
  waiting_reason text, usd_left numeric
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_price rowmill.model_prices := rowmill.price_of(v_pipeline.model);
  v_forecast rowmill.forecast := rowmill.forecast_of(rowmill.history_of(v_pipeline.id), v_price,
    requests, raw_input_tokens, max_output_tokens);
  v_room rowmill.room := rowmill.room_for(v_pipeline.id);
begin
  return query
  select v_forecast.input_tokens, v_forecast.output_tokens, v_forecast.usd, v_forecast.most_usd,
    v_price.as_of, v_room.reason, v_room.usd;
end;
$$;
comment on function rowmill.preview_cost is
  'What requests of a pipeline would use and cost, by its history and its model''s price; null where that cannot be known. '
  'Raises RM111.';
revoke all on function rowmill.preview_cost from public;

-- API: public
create or replace function rowmill.preview_pipeline(pipeline text)
returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_queued bigint;
begin
  select
    coalesce((
      select sum(c.row_count) from rowmill.chunks as c where c.pipeline_id = v_pipeline.id and c.state in ('waiting', 'accepted')
    ), 0)
    + coalesce((select sum(k.row_count) from rowmill.pending_keys as k where k.pipeline_id = v_pipeline.id), 0)
  into strict v_queued;
  return json_build_object('definition', rowmill.get_pipeline(v_pipeline.id), 'queued', v_queued, 'state', v_pipeline.state);
end;
$$;
comment on function rowmill.preview_pipeline is
   '{"definition", "queued", "state"}: a pipeline as a worker sees it, and how many rows wait. Raises RM111.';
revoke all on function rowmill.preview_pipeline from public;

-- API: public
create or replace function rowmill.preview_rows(
  pipeline text,
  max_rows integer default 5,
  spread boolean default false -- true: from all over the queue, to judge it by; false: those that are next
)
returns table (key jsonb, hash text, input jsonb, is_queued boolean)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- An input's text, and so its hash, must not depend on whoever asks.
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_parts rowmill.source_parts := rowmill.source_parts_of(v_pipeline.id);
  v_keys jsonb;
begin
  if preview_rows.max_rows is null or preview_rows.max_rows < 1 then
    raise exception using errcode = 'RM109', message = 'max_rows is not a positive number',
      detail = format('It is %s.', coalesce(preview_rows.max_rows::text, 'null')), hint = 'max_rows => 5';
  end if;
  v_keys := rowmill.keys_to_preview(v_pipeline.id, preview_rows.max_rows, preview_rows.spread);
  if v_keys is null then
    for key, hash, input, is_queued in execute format(
      'select %1$s, %2$s, %3$s, false from %4$s as s where %5$s order by %6$s limit $1',
      v_parts.key_value, v_parts.hash, v_parts.input, v_parts.relation, v_parts.selected, v_parts.key_list
    )
    using preview_rows.max_rows
    loop
      return next;
    end loop;
  else
    for key, hash, input, is_queued in execute format(
      $sql$
      select %1$s, %2$s, %3$s, true
      from jsonb_array_elements($1) with ordinality as k(key, n)
      join %4$s as s on %5$s
      where %6$s
      order by k.n
      $sql$,
      v_parts.key_value, v_parts.hash, v_parts.input, v_parts.relation, v_parts.key_match, v_parts.selected
    )
    using v_keys
    loop
      return next;
    end loop;
  end if;
end;
$$;
comment on function rowmill.preview_rows is
  'Rows that are queued, as their prompts would see them now; where nothing is queued, the first of the table. '
  'Nothing is sent or changed. Raises RM111, RM109, RM201.';
revoke all on function rowmill.preview_rows from public;

-- API: internal
create or replace function rowmill.row_with_key(
  pipeline rowmill.pipelines,
  given text, -- as why() is given it
  out key jsonb, -- as it is queued
  out is_selected boolean,
  out is_missing boolean -- whether an output is null
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts rowmill.source_parts := rowmill.source_parts_of((row_with_key.pipeline).id);
  v_given jsonb := rowmill.key_given(row_with_key.pipeline, row_with_key.given);
begin
  execute format('select %1$s, %2$s, %3$s from (select $1 as key) as k join %4$s as s on %5$s',
    v_parts.key_value, v_parts.selected, v_parts.missing, v_parts.relation, v_parts.key_match)
  into row_with_key.key, row_with_key.is_selected, row_with_key.is_missing
  using v_given;
exception when data_exception then
  raise exception using errcode = 'RM109', message = format('that is no key of %s', (row_with_key.pipeline).source),
    detail = sqlerrm, hint = format('Its primary key is (%s).', rowmill.trigger_names_of((row_with_key.pipeline).id));
end;
$$;
comment on function rowmill.row_with_key is
  'The row of a pipeline''s table that has a key; nulls where there is none. For callers with the settings of why(): the key is text '
  'as the triggers have it. Raises RM109 where it can be no key of the table, RM201 where the table is gone.';
revoke all on function rowmill.row_with_key from public;

-- API: public
create or replace function rowmill.why(
  pipeline text,
  key text -- the primary key: 42, 'abc', or for several columns a JSON array, '[42, "abc"]'
)
returns table (state text, explanation text, chunk_id bigint, batch_id bigint, attempts integer)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- keys, as in the triggers
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_row record;
  v_failure rowmill.failures;
begin
  v_row := rowmill.row_with_key(v_pipeline, why.key);
  if v_row.key is null then
    return query select 'gone', format('There is no such row in %s.', v_pipeline.source), null::bigint, null::bigint, null::integer;
    return;
  end if;
  select f.* into v_failure
  from rowmill.failures as f
  where f.pipeline_id = v_pipeline.id and md5(f.key::text) = md5(v_row.key::text);

  return query
  select 'in_flight', w.explanation, w.chunk_id, w.batch_id, v_failure.attempts
  from rowmill.why_in_flight(v_pipeline.id, v_row.key) as w;
  if found then
    return;
  end if;
  return query
  select 'waiting', w.explanation, w.chunk_id, null::bigint, v_failure.attempts
  from rowmill.why_waiting(v_pipeline.id, v_row.key) as w;
  if found then
    return;
  end if;
  return query
  select 'pending', w.explanation, null::bigint, null::bigint, v_failure.attempts
  from rowmill.why_pending(v_pipeline, v_row.key, v_failure) as w(explanation)
  where w.explanation is not null;
  if found then
    return;
  end if;
  return query
  select w.state, w.explanation, null::bigint, v_failure.batch_id, v_failure.attempts
  from rowmill.why_over(v_pipeline, v_failure, v_row.is_selected, v_row.is_missing) as w;
end;
$$;
comment on function rowmill.why is
  'Where a row is and what happened to it, in one row and in words. '
  'Raises RM111 (no such pipeline), RM109 (no such key), RM201 (the table is gone).';
revoke all on function rowmill.why from public;

-- API: internal
create or replace function rowmill.why_in_flight(pipeline_id bigint, key jsonb)
returns table (explanation text, chunk_id bigint, batch_id bigint)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select
    case
      when c.batch_id is null then 'A worker is preparing its batch.'
      when b.state = 'preparing' then 'Its batch is being created at the provider.'
      when b.state = 'running' then
        format('Its batch runs since %s (%s).', date_trunc('second', b.submitted_at), b.provider_status)
      else 'Its batch has ended; the answer is being read.'
    end,
    r.chunk_id,
    c.batch_id
  from rowmill.chunk_rows as r
  join rowmill.chunks as c on c.id = r.chunk_id
  left join rowmill.batch_processing_details as b on b.id = c.batch_id
  where r.pipeline_id = why_in_flight.pipeline_id and md5(r.key::text) = md5(why_in_flight.key::text)
  order by r.chunk_id desc
  limit 1;
$$;
comment on function rowmill.why_in_flight is
  'How far a row is that a worker has taken; nothing where none has.';
revoke all on function rowmill.why_in_flight from public;

-- API: internal
create or replace function rowmill.why_over(
  pipeline rowmill.pipelines,
  failure rowmill.failures,
  is_selected boolean,
  is_missing boolean,
  out state text,
  out explanation text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if (why_over.failure).is_final then
    state := 'failed';
    explanation := format(
      'It failed after %s, last at %s: %s: %s An edit of the row, or select rowmill.retry_failed(%L, %L), tries it again.',
      case (why_over.failure).attempts when 1 then 'one attempt' else (why_over.failure).attempts || ' attempts' end,
      date_trunc('second', (why_over.failure).last_at),
      (why_over.failure).error_class,
      rtrim((why_over.failure).message, '.') || '.',
      (why_over.pipeline).name,
      (why_over.failure).error_class
    );
  elsif not why_over.is_missing then
    state := 'enriched';
    explanation := 'Its outputs are filled, and nothing is under way.';
  elsif not coalesce(why_over.is_selected, false) then
    state := 'not_selected';
    explanation := 'The filter leaves it out, or an input that another pipeline fills is still null.';
  else
    state := 'unknown';
    explanation := format(
      'It was never queued, or its answer was null throughout; select rowmill.backfill(%L, only_missing => true) queues it.',
      (why_over.pipeline).name
    );
  end if;
end;
$$;
comment on function rowmill.why_over is
  'What became of a row for which nothing is under way.';
revoke all on function rowmill.why_over from public;

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

-- API: internal
create or replace function rowmill.why_waiting(pipeline_id bigint, key jsonb)
returns table (explanation text, chunk_id bigint)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reason text;
begin
  select c.id, c.wait_reason into why_waiting.chunk_id, v_reason
  from rowmill.chunks as c
  where c.pipeline_id = why_waiting.pipeline_id and c.state in ('waiting', 'accepted')
  and exists (select from jsonb_array_elements(c.keys) as k(key) where k.key = why_waiting.key)
  limit 1;
  if not found then
    return;
  end if;
  v_reason := coalesce((rowmill.room_for(why_waiting.pipeline_id)).reason, v_reason);
  why_waiting.explanation := case
    when v_reason is null then 'It is in a chunk that waits for a worker.'
    else format('It is in a chunk that waits for room. %s', v_reason)
  end;
  return next;
end;
$$;
comment on function rowmill.why_waiting is
  'What the chunk waits for that a row is in; nothing where it is in no open chunk.';
revoke all on function rowmill.why_waiting from public;

-- API: internal
create or replace function rowmill.budget_reason(most_usd numeric, room rowmill.room)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select format('It may cost up to $%s, and %s. It goes on when running batches are settled, when the budget grows%s.',
    round(budget_reason.most_usd, 4), (budget_reason.room).usd_reason,
    case when (budget_reason.room).usd_reason like '%today%' then ', or at midnight (UTC)' else '' end);
$$;
comment on function rowmill.budget_reason is
  'Why work of this highest cost waits for a budget, in words.';
revoke all on function rowmill.budget_reason from public;

-- API: internal
create or replace function rowmill.clamped(
  value numeric,
  most numeric default 1e15 -- 9,000 of these can be added up in a bigint
)
returns bigint
language plpgsql -- unlike one in SQL, it keeps its plan from call to call
immutable
strict
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  -- NaN is above every number to least() and greatest().
  return case when clamped.value = 'NaN' then 0 else trunc(least(greatest(clamped.value, 0), clamped.most)) end;
end;
$$;
comment on function rowmill.clamped is
  'A count that somebody else made up, as one that can be stored and added up: at least 0, at most "most", without a fraction; NaN is 0.';
revoke all on function rowmill.clamped from public;

-- API: internal
create or replace function rowmill.cost_usd(
  price rowmill.model_prices,
  input_tokens bigint, -- the cached ones among them
  cached_tokens bigint,
  output_tokens bigint
)
returns numeric
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when cost_usd.input_tokens = 0 and cost_usd.output_tokens = 0 then 0 -- whatever the price
    else (
      -- numeric: the difference of two bigints may be none
      greatest(cost_usd.input_tokens::numeric - cost_usd.cached_tokens, 0) * (cost_usd.price).input_usd
      + cost_usd.cached_tokens * (cost_usd.price).cached_input_usd
      + cost_usd.output_tokens * (cost_usd.price).output_usd
    ) * (cost_usd.price).batch_share / 1000000
  end;
$$;
comment on function rowmill.cost_usd is
  'US dollars for tokens in a batch; null where price or tokens are unknown.';
revoke all on function rowmill.cost_usd from public;

-- API: internal
create or replace function rowmill.count_or_null(value jsonb, most numeric default 1e15)
returns bigint
language plpgsql -- unlike one in SQL, it keeps its plan from call to call
immutable
strict
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when jsonb_typeof(count_or_null.value) = 'number' then rowmill.clamped(count_or_null.value::numeric, count_or_null.most) end;
end;
$$;
comment on function rowmill.count_or_null is
  'A count out of JSON that somebody else wrote: a number is clamped, anything else is null.';
revoke all on function rowmill.count_or_null from public;

-- API: internal
create or replace function rowmill.forecast_of(
  history rowmill.usage_history,
  price rowmill.model_prices,
  requests integer,
  raw_input_tokens bigint, -- by the tokenizer
  max_output_tokens bigint -- the sum of the requests' own limits; null: they have none
)
returns rowmill.forecast
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_forecast rowmill.forecast;
  v_factor numeric := coalesce((history).input_factor, 1);
begin
  -- Clamped: the history is made of what the provider told, and one absurd figure must not stop the work of all.
  v_forecast.input_tokens := rowmill.clamped(ceil(forecast_of.raw_input_tokens * v_factor));
  -- The tokenizer is within a few percent; how a provider counts a schema, only the first batch will tell.
  v_forecast.most_tokens := rowmill.clamped(
    ceil(forecast_of.raw_input_tokens * v_factor * case when (history).input_factor is null then 1.25 else 1.1 end)
  );
  v_forecast.output_tokens := least(
    coalesce(rowmill.clamped(ceil((history).output_per_request * forecast_of.requests)), forecast_of.max_output_tokens),
    forecast_of.max_output_tokens
  );
  v_forecast.usd := rowmill.cost_usd(forecast_of.price, v_forecast.input_tokens, 0, v_forecast.output_tokens);
  -- Without a limit there is no highest price, whatever the history says: where a budget holds there is a limit.
  v_forecast.most_usd := rowmill.cost_usd(forecast_of.price, v_forecast.most_tokens, 0, forecast_of.max_output_tokens);
  return v_forecast;
end;
$$;
comment on function rowmill.forecast_of is
  'What requests will use and cost: input by the tokenizer, corrected by the history; output by the history, else by the limits.';
revoke all on function rowmill.forecast_of from public;

-- API: internal
create or replace function rowmill.has_budget(pipeline_id bigint)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select p.budget_usd is not null or p.daily_budget_usd is not null or s.budget_usd is not null or s.daily_budget_usd is not null
  from rowmill.pipelines as p
  cross join rowmill.settings as s
  where p.id = has_budget.pipeline_id;
$$;
comment on function rowmill.has_budget is
  'Whether any budget holds for a pipeline, its own or the installation''s.';
revoke all on function rowmill.has_budget from public;

-- API: internal
create or replace function rowmill.history_of(pipeline_id bigint)
returns rowmill.usage_history
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select (
    -- Of a batch that broke off, the part that was executed.
    sum(h.input_tokens) / nullif(sum(h.raw_input_tokens::numeric * h.billed_requests / h.requests), 0),
    coalesce(
      sum(h.input_tokens)::numeric / nullif(sum(h.billed_requests), 0),
      (
        select sum(o.estimated_input_tokens)::numeric / nullif(sum(o.requests), 0)
        from rowmill.batch_processing_details as o
        where o.pipeline_id = history_of.pipeline_id and o.state in ('preparing', 'running', 'ended')
      )
    ),
    sum(h.output_tokens)::numeric / nullif(sum(h.billed_requests), 0),
    sum(h.spent_usd) / nullif(sum(h.billed_requests) filter (where h.spent_usd is not null), 0)
  )::rowmill.usage_history
  from (
    select
      b.requests, b.billed_requests, b.raw_input_tokens, b.spent_usd,
      coalesce(b.reported_input_tokens, b.input_tokens) as input_tokens,
      coalesce(b.reported_output_tokens, b.output_tokens) as output_tokens
    from rowmill.batch_processing_details as b
    where b.pipeline_id = history_of.pipeline_id
    and b.billed_requests > 0 and b.requests >= b.billed_requests and b.raw_input_tokens > 0
    and b.state in ('harvested', 'done')
    -- A prompt that was altered has a history of its own, once there is one.
    and b.pipeline_version = coalesce(
      (
        select c.pipeline_version
        from rowmill.batch_processing_details as c
        where c.pipeline_id = history_of.pipeline_id and c.billed_requests > 0 and c.raw_input_tokens > 0
        and c.state in ('harvested', 'done')
        order by c.id desc
        limit 1
      ), 1
    )
    order by b.id desc
    limit 20
  ) as h;
$$;
comment on function rowmill.history_of is
  'What the last twenty batches of a pipeline, of the latest version that has any, used.';
revoke all on function rowmill.history_of from public;

-- API: internal
create or replace function rowmill.money_of(
  pipeline_id bigint, -- null: all of them
  day date default null -- null: ever
)
returns rowmill.money
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select (
    coalesce(sum(m.reserved_usd), 0),
    -- One that is unknown makes the sum unknown.
    case when bool_and(m.spent_usd is not null) is not false then coalesce(sum(m.spent_usd), 0) end
  )::rowmill.money
  from (
    select s.reserved_usd, s.spent_usd
    from rowmill.spending as s
    where (money_of.pipeline_id is null or s.pipeline_id = money_of.pipeline_id)
    and (money_of.day is null or s.day = money_of.day)
    union all
    -- Submitted before the model had a price: at today's, if it has one now.
    select
      case when b.settled_at is null then rowmill.cost_usd(p.price, b.reserved_tokens, 0, b.estimated_output_tokens) end,
      case when b.settled_at is null then 0 else rowmill.cost_usd(p.price, coalesce(b.reported_input_tokens, b.input_tokens),
        coalesce(b.reported_cached_tokens, b.cached_tokens), coalesce(b.reported_output_tokens, b.output_tokens)) end
    from rowmill.batch_processing_details as b
    cross join lateral (select rowmill.price_of(b.model) as price) as p
    where b.price is null and b.state not in ('rejected', 'abandoned')
    and (money_of.pipeline_id is null or b.pipeline_id = money_of.pipeline_id)
    and (money_of.day is null or b.reserved_on = money_of.day)
  ) as m;
$$;
comment on function rowmill.money_of is
  'What is reserved and spent, of a pipeline or of all, ever or on one day (UTC). spent_usd is null where a batch''s price is not known.';
revoke all on function rowmill.money_of from public;

-- API: internal
create or replace function rowmill.note_full_queue(model text, tokens bigint)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  insert into rowmill.model_states as m (model, learned_tokens, strikes, blocked_until)
  select note_full_queue.model, greatest(1, (t.in_queue + rowmill.clamped(note_full_queue.tokens)) * 7 / 10),
    1, now() + s.retry_after
  from rowmill.tokens_left(note_full_queue.model) as t
  cross join rowmill.settings as s
  on conflict (model) do update
  set
    -- Several batches that were on their way together are turned away together; that is one lesson.
    learned_tokens = case when m.blocked_until > now() then m.learned_tokens else excluded.learned_tokens end,
    strikes = case when m.blocked_until > now() then m.strikes else m.strikes + 1 end,
    blocked_until = case
      when m.blocked_until > now() then m.blocked_until
      else now() + least((excluded.blocked_until - now()) * power(2, least(m.strikes, 10)), interval '1 hour')
    end;
$$;
comment on function rowmill.note_full_queue is
   'The provider had no room for so many tokens more: the model is left alone for settings.retry_after, twice as long each time in a row, '
  'and then filled to seven tenths of what was too much.';
revoke all on function rowmill.note_full_queue from public;

-- API: internal
create or replace function rowmill.note_refusal(pipeline_id bigint, reason text)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  update rowmill.pipelines as p
  set
    strikes = case when p.wait_until > now() then p.strikes else p.strikes + 1 end,
    wait_until = case
      when p.wait_until > now() then p.wait_until
      else now() + least(s.fetch_after * power(2, least(p.strikes, 10)), interval '10 minutes')
    end,
    wait_reason = note_refusal.reason
  from rowmill.settings as s
  where p.id = note_refusal.pipeline_id;
$$;
comment on function rowmill.note_refusal is
  'The provider took no batch of a pipeline, for no fault of its rows: '
  'it is tried again after settings.fetch_after, twice as long each time in a row, ten minutes at most.';
revoke all on function rowmill.note_refusal from public;

-- API: internal
create or replace function rowmill.note_room_in_queue(model text, tokens bigint)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  update rowmill.model_states as m
  set
    strikes = 0, blocked_until = null,
    learned_tokens = rowmill.clamped(m.learned_tokens + ceil(note_room_in_queue.tokens * 0.25))
  where m.model = note_room_in_queue.model;
$$;
comment on function rowmill.note_room_in_queue is
  'A batch of so many tokens ended well: a quarter of them more is tried next.';
revoke all on function rowmill.note_room_in_queue from public;

-- API: internal
create or replace function rowmill.price_of(model text)
returns rowmill.model_prices
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select m
  from rowmill.model_prices as m
  where m.model in (price_of.model, regexp_replace(price_of.model, '-\d{4}-\d{2}-\d{2}$', ''))
  order by m.model = price_of.model desc
  limit 1;
$$;
comment on function rowmill.price_of is
  'The price of a model; a dated name (gpt-4o-mini-2024-07-18) has its family''s where it has none of its own. null: nobody knows.';
revoke all on function rowmill.price_of from public;

-- API: internal
create or replace function rowmill.room_for(pipeline_id bigint)
returns rowmill.room
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_room rowmill.room;
begin
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = room_for.pipeline_id;
  v_room.usd_comes := false;
  if v_pipeline.state <> 'active' then
    v_room.code := v_pipeline.state;
    v_room.reason := coalesce(v_pipeline.state_reason, 'The pipeline is paused; resume_pipeline goes on.');
    return v_room;
  end if;
  if v_pipeline.wait_until > now() then
    v_room.code := 'provider';
    v_room.reason := format('%s Tried again at %s.', v_pipeline.wait_reason,
      to_char(v_pipeline.wait_until at time zone 'UTC', 'HH24:MI:SS UTC'));
    return v_room;
  end if;
  v_room := rowmill.room_in_queue(v_room, v_pipeline.model);
  if v_room.code is null then
    v_room := rowmill.room_in_budgets(v_room, v_pipeline.id);
  end if;
  if v_room.code is null then
    v_room := rowmill.room_within_hour(v_room);
  end if;
  return v_room;
end;
$$;
comment on function rowmill.room_for is
  'Whether a pipeline may submit now: budgets, the model''s queue, batches an hour, the provider''s mood. Says why not, or how much fits.';
revoke all on function rowmill.room_for from public;

-- API: internal
create or replace function rowmill.room_in_budgets(room rowmill.room, pipeline_id bigint)
returns rowmill.room
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_today date := (now() at time zone 'UTC')::date;
  v_budget record;
begin
  for v_budget in
    select p.model, f.*, m.reserved_usd, m.spent_usd, f.usd - m.spent_usd - m.reserved_usd as left_usd
    from rowmill.pipelines as p
    cross join rowmill.settings as s
    cross join lateral (values
      ('budget', format('the budget of "%s"', p.name), p.budget_usd, p.id, null::date),
      ('daily_budget', format('today''s budget of "%s"', p.name), p.daily_budget_usd, p.id, v_today),
      ('budget', 'the installation''s budget', s.budget_usd, null::bigint, null::date),
      ('daily_budget', 'the installation''s budget for today', s.daily_budget_usd, null::bigint, v_today)
    ) as f(code, name, usd, pipeline_id, day)
    cross join lateral rowmill.money_of(f.pipeline_id, f.day) as m
    where p.id = room_in_budgets.pipeline_id and f.usd is not null
  loop
    if rowmill.price_of(v_budget.model) is null then
      room.code := 'price';
      room.reason := format('There is a budget, and rowmill.model_prices has no price for %s. Insert one, or take the budget away.',
        v_budget.model);
      return room;
    end if;
    if v_budget.spent_usd is null then
      room.code := 'price';
      room.reason := format('What counts against %s is unknown: a batch''s model has no price in rowmill.model_prices. Insert it.',
        v_budget.name);
      return room;
    end if;
    if rowmill.runs_without_limit(v_budget.pipeline_id) then
      room.code := 'budget';
      room.reason := format('Batches still run that were sent before there was %s, without a limit on output tokens; '
        'what they cost is known when they end.', v_budget.name);
      return room;
    end if;
    room.usd_comes := room.usd_comes or v_budget.reserved_usd > 0;
    if room.usd is null or v_budget.left_usd < room.usd then
      room.usd := v_budget.left_usd;
      room.usd_reason := format('$%s of $%s, %s, is left ($%s spent, $%s reserved)', round(greatest(room.usd, 0), 4), v_budget.usd,
        v_budget.name, round(v_budget.spent_usd, 4), round(v_budget.reserved_usd, 4));
      room.code := case when room.usd <= 0 then v_budget.code end;
    end if;
  end loop;
  if room.code is not null then
    room.reason := format('%s. It goes on when the budget grows%s.', room.usd_reason,
      case room.code when 'daily_budget' then ', or at midnight (UTC)' else '' end);
  end if;
  return room;
end;
$$;
comment on function rowmill.room_in_budgets is
  'A room with what is left of the tightest budget that holds for a pipeline; with a code where nothing is, or where that is not known.';
revoke all on function rowmill.room_in_budgets from public;

-- API: internal
create or replace function rowmill.room_in_queue(room rowmill.room, model text)
returns rowmill.room
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_blocked_until timestamptz;
begin
  select m.blocked_until into v_blocked_until from rowmill.model_states as m where m.model = room_in_queue.model;
  if v_blocked_until > now() then
    room.code := 'tokens';
    room.reason := format('The provider''s queue for %s is full; tried again at %s.', room_in_queue.model,
      to_char(v_blocked_until at time zone 'UTC', 'HH24:MI:SS UTC'));
    return room;
  end if;
  select t.tokens_left, t.in_queue, t.in_queue > 0 into strict room.tokens, room.tokens_in_queue, room.tokens_come
  from rowmill.tokens_left(room_in_queue.model) as t;
  if room.tokens <= 0 then
    room.code := 'tokens';
    room.reason := format('The queue for %s is full: %s input tokens are in it. It goes on when batches end.',
      room_in_queue.model, room.tokens_in_queue);
  end if;
  return room;
end;
$$;
comment on function rowmill.room_in_queue is
  'A room with what a model''s queue at the provider still takes; with a code where it takes nothing.';
revoke all on function rowmill.room_in_queue from public;

-- API: internal
create or replace function rowmill.room_within_hour(room rowmill.room)
returns rowmill.room
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit integer;
begin
  select s.batches_per_hour into strict v_limit from rowmill.settings as s;
  select v_limit - count(*) into strict room.batches
  from rowmill.batch_processing_details as b
  where b.created_at > now() - interval '1 hour' and b.state <> 'abandoned';
  if room.batches <= 0 then
    room.code := 'rate';
    room.reason := format('%s batches were created within the last hour, which is the limit; '
      'what waits is packed into larger ones.', v_limit);
  end if;
  return room;
end;
$$;
comment on function rowmill.room_within_hour is
  'A room with how many batches may yet be created within the hour; with a code where none may.';
revoke all on function rowmill.room_within_hour from public;

-- API: internal
create or replace function rowmill.runs_without_limit(pipeline_id bigint)
returns boolean
language plpgsql -- unlike one in SQL, it keeps its plan from call to call
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select
    from rowmill.batch_processing_details as b
    where b.state in ('preparing', 'running', 'ended') and b.reserved_usd is null
    and (runs_without_limit.pipeline_id is null or b.pipeline_id = runs_without_limit.pipeline_id)
  );
end;
$$;
comment on function rowmill.runs_without_limit is
  'Whether a batch of a pipeline (null: of any) is under way of which nobody knows what it may cost at most.';
revoke all on function rowmill.runs_without_limit from public;

-- API: internal
create or replace function rowmill.settle_money(batch_id bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_batch rowmill.batch_processing_details;
  v_price rowmill.model_prices;
  v_spent numeric;
begin
  select b.* into v_batch
  from rowmill.batch_processing_details as b
  where b.id = settle_money.batch_id and b.settled_at is null
  for update;
  if not found then
    return;
  end if;
  v_price := coalesce(v_batch.price, rowmill.price_of(v_batch.model));
  if v_batch.provider_batch_id is null then
    v_spent := 0; -- no batch of it is known; a stray that turns up is settled by itself
  elsif v_batch.provider_status = 'gone' and v_batch.input_tokens = 0 then
    -- The provider lost it, and may have charged for it: what it may have cost at most counts as spent, whatever it told
    -- while it ran.
    v_spent := greatest(
      coalesce(v_batch.reserved_usd, v_batch.estimated_usd),
      rowmill.cost_usd(v_price, v_batch.reported_input_tokens, v_batch.reported_cached_tokens, v_batch.reported_output_tokens)
    );
  else
    -- One by one: a figure that the provider told and that was no number is null, and the lines' sum stands in for it.
    v_spent := rowmill.cost_usd(v_price, coalesce(v_batch.reported_input_tokens, v_batch.input_tokens),
      coalesce(v_batch.reported_cached_tokens, v_batch.cached_tokens), coalesce(v_batch.reported_output_tokens, v_batch.output_tokens));
  end if;
  update rowmill.batch_processing_details as b
  set settled_at = now(), price = v_price, reserved_usd = 0, spent_usd = v_spent
  where b.id = v_batch.id;
  if coalesce(v_batch.reserved_usd, 0) <> 0 or coalesce(v_spent, 0) <> 0 then
    insert into rowmill.spending as s (pipeline_id, day, reserved_usd, spent_usd)
    values (v_batch.pipeline_id, v_batch.reserved_on, -coalesce(v_batch.reserved_usd, 0), coalesce(v_spent, 0))
    on conflict (pipeline_id, day) do update
    set reserved_usd = s.reserved_usd + excluded.reserved_usd, spent_usd = s.spent_usd + excluded.spent_usd;
  end if;
end;
$$;
comment on function rowmill.settle_money is
  'Ends a batch''s reservation and books what it did cost, both at once. Harmless to repeat.';
revoke all on function rowmill.settle_money from public;

-- API: internal
create or replace function rowmill.tokens_left(model text)
returns table (tokens_left bigint, in_queue bigint)
language plpgsql -- unlike one in SQL, it keeps its plan from call to call
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select least(l.enqueued_tokens, s.learned_tokens) - q.tokens, q.tokens
  from (
    select rowmill.clamped(coalesce(sum(b.reserved_tokens), 0)) as tokens
    from rowmill.batch_processing_details as b
    where b.model = tokens_left.model and b.state in ('preparing', 'running')
  ) as q
  left join rowmill.model_limits as l on l.model = tokens_left.model
  left join rowmill.model_states as s on s.model = tokens_left.model;
end;
$$;
comment on function rowmill.tokens_left is
  'Input tokens that still fit into a model''s queue at the provider (null: no limit is known), and those that are in it.';
revoke all on function rowmill.tokens_left from public;

-- API: internal
create or replace function rowmill.add_input_parts(parts rowmill.source_parts, definition rowmill.pipelines)
returns rowmill.source_parts
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts rowmill.source_parts := parts;
begin
  -- Inputs are text, so that no client rounds a number; arrays and composites as JSON, which models read well.
  -- json_build_object takes 50 pairs at most; jsonb_object takes any number. The hash is over the binary form of
  -- the values, which tells null from empty, needs no quoting, and takes half the time of hashing their JSON.
  -- Under another version the same row is another request, so that what is in flight, answered or failed under one
  -- says nothing of the next; those of the first version keep the hashes that they have.
  -- The type's category comes from a subquery: for a join Postgres reads all of pg_type.
  select
    format(
      'pg_catalog.jsonb_object(array[%s]::text[], array[%s]::text[])',
      string_agg(quote_literal(i.name), ', ' order by i.place),
      string_agg(i.value, ', ' order by i.place)
    ),
    format(
      'pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(pg_catalog.array_send(array[%s%s]::bytea[])), ''hex''), 16)',
      case when definition.version > 1 then format('pg_catalog.convert_to(''v%s'', ''UTF8''), ', definition.version) end,
      string_agg(format('pg_catalog.convert_to(%s, ''UTF8'')', i.value), ', ' order by i.place)
    )
  into strict v_parts.input, v_parts.hash
  from (
    select
      i.value ->> 'name' as name,
      i.place,
      case
        when (select t.typcategory from pg_type as t where t.oid = a.atttypid) in ('A', 'C')
          then format('pg_catalog.to_jsonb(s.%I)::text', a.attname)
        else format('s.%I::text', a.attname)
      end as value
    from jsonb_array_elements(definition.inputs) with ordinality as i(value, place)
    join pg_attribute as a on a.attrelid = definition.source and a.attnum = (i.value ->> 'attnum')::integer
  ) as i;
  return v_parts;
end;
$$;
comment on function rowmill.add_input_parts is
  'The parts, with those that read a row''s inputs: input (a JSON object of text by name) and hash (16 letters over the same values).';
revoke all on function rowmill.add_input_parts from public;

-- API: internal
create or replace function rowmill.add_key_parts(parts rowmill.source_parts, definition rowmill.pipelines)
returns rowmill.source_parts
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts rowmill.source_parts := parts;
begin
  -- A key travels as JSON and comes back through the text of its type.
  select
    string_agg(
      format('s.%I operator(pg_catalog.=) (k.key ->> %s)::%s', a.attname, k.place - 1, format_type(a.atttypid, a.atttypmod)),
      ' and ' order by k.place
    ),
    string_agg(format('s.%I', a.attname), ', ' order by k.place),
    format('pg_catalog.jsonb_build_array(%s)', string_agg(rowmill.key_element('s', a.attname, a.atttypid), ', ' order by k.place))
  into strict v_parts.key_match, v_parts.key_list, v_parts.key_value
  from unnest(definition.key_columns) with ordinality as k(attnum, place)
  join pg_attribute as a on a.attrelid = definition.source and a.attnum = k.attnum;
  return v_parts;
end;
$$;
comment on function rowmill.add_key_parts is
  'The parts, with those that find a row of the source by its key, and that read its key (key_match, key_value, key_list).';
revoke all on function rowmill.add_key_parts from public;

-- API: internal
create or replace function rowmill.add_output_parts(parts rowmill.source_parts, definition rowmill.pipelines)
returns rowmill.source_parts
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts rowmill.source_parts := parts;
  -- where the outputs are: in the row itself, or in its row of the target
  v_place text := case when definition.target = definition.source then 's' else 'f' end;
begin
  select
    string_agg(format('%s.%I is null', v_place, a.attname), ' and ' order by o.place),
    string_agg(format('%I = k.o%s', a.attname, o.place - 1), ', ' order by o.place),
    string_agg(format('o%s %s', o.place - 1, format_type(a.atttypid, a.atttypmod)), ', ' order by o.place),
    string_agg(format('%I', a.attname), ', ' order by o.place),
    string_agg(format('w.o%s', o.place - 1), ', ' order by o.place),
    string_agg(format('%I = excluded.%1$I', a.attname), ', ' order by o.place)
  into strict
    v_parts.missing, v_parts.set_list, v_parts.value_columns, v_parts.target_columns, v_parts.target_values, v_parts.excluded_list
  from jsonb_array_elements(definition.outputs) with ordinality as o(value, place)
  join pg_attribute as a on a.attrelid = definition.target and a.attnum = (o.value ->> 'attnum')::integer;
  if definition.provenance = '[]' then
    return v_parts;
  end if;

  select
    v_parts.set_list || string_agg(format(', %I = %s', q.name, q.value), '' order by q.place),
    v_parts.target_columns || string_agg(format(', %I', q.name), '' order by q.place),
    v_parts.target_values || string_agg(format(', %s', q.value), '' order by q.place),
    v_parts.excluded_list || string_agg(format(', %I = excluded.%1$I', q.name), '' order by q.place),
    min(format('%s.%I', v_place, q.name)) filter (where q.is_version)
  into strict v_parts.set_list, v_parts.target_columns, v_parts.target_values, v_parts.excluded_list, v_parts.version_at
  from (
    select
      a.attname as name,
      o.place,
      case o.value ->> 'value'
        when '$batch_id' then '$3' when '$model' then '$4' when '$completed_at' then '$5' when '$version' then '$6'
      end as value,
      -- a subquery, since for a join Postgres reads all of pg_type
      o.value ->> 'value' = '$version'
        and (select t.typcategory from pg_type as t where t.oid = rowmill.base_type(a.atttypid)) = 'N' as is_version
    from jsonb_array_elements(definition.provenance) with ordinality as o(value, place)
    join pg_attribute as a on a.attrelid = definition.target and a.attnum = (o.value ->> 'attnum')::integer
  ) as q;
  return v_parts;
end;
$$;
comment on function rowmill.add_output_parts is
  'The parts, with those that write a row''s outputs and provenance, and that say whether it has none (missing) and of which version '
  'they are (version_at). Where the pipeline has a target of its own, both are over its row, aliased as f: see add_target_parts.';
revoke all on function rowmill.add_output_parts from public;

-- API: internal
create or replace function rowmill.add_target_parts(
  parts rowmill.source_parts, -- as add_output_parts leaves them
  definition rowmill.pipelines
)
returns rowmill.source_parts
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts rowmill.source_parts := parts;
  v_match text;
begin
  select
    string_agg(format('s.%I as k%s', a.attname, k.place - 1), ', ' order by k.place),
    string_agg(format('%I', t.attname), ', ' order by k.place),
    string_agg(format('w.k%s', k.place - 1), ', ' order by k.place) || ', ' || v_parts.target_values,
    string_agg(format('f.%I operator(pg_catalog.=) s.%I', t.attname, a.attname), ' and ' order by k.place)
  into strict v_parts.key_columns, v_parts.target_keys, v_parts.target_values, v_match
  from unnest(definition.key_columns, definition.target_key_columns) with ordinality as k(attnum, target_attnum, place)
  join pg_attribute as a on a.attrelid = definition.source and a.attnum = k.attnum
  join pg_attribute as t on t.attrelid = definition.target and t.attnum = k.target_attnum;
  v_parts.target := definition.target::text;
  v_parts.target_columns := v_parts.target_keys || ', ' || v_parts.target_columns;
  v_parts.missing := format('not exists (select from %s as f where %s and not (%s))', v_parts.target, v_match, v_parts.missing);
  -- (null where there is none)
  v_parts.version_at := '(select ' || v_parts.version_at || format(' from %s as f where %s)', v_parts.target, v_match);
  return v_parts;
end;
$$;
comment on function rowmill.add_target_parts is
  'The parts of a pipeline that fills a table other than its source: with the target and its keys, and with missing and version_at '
  'looked up there for a row of the source.';
revoke all on function rowmill.add_target_parts from public;

-- API: public
create or replace function rowmill.alter_pipeline(
  pipeline text,
  -- as in create_pipeline; null leaves each as it is
  instructions text default null,
  prompt text default null,
  outputs text[] default null,
  model text default null,
  format text default null,
  output_schema json default null,
  filter text default null, -- '' takes it away
  params jsonb default null,
  endpoint text default null,
  provenance jsonb default null,
  placeholder_style text default null,
  chunk_size integer default null,
  flush_after interval default null,
  max_attempts integer default null,
  budget_usd numeric default null,
  daily_budget_usd numeric default null,
  reset text[] default '{}' -- names of parameters that go back to create_pipeline's default, e.g. array['filter']
)
returns integer
language plpgsql
-- invoker: whoever alters a pipeline needs the right to put triggers on the table
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reset text[] := coalesce(reset, '{}');
  v_old rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_given rowmill.pipelines;
  v_new rowmill.pipelines;
  v_provenance jsonb := case when 'provenance' = any (v_reset) then '{}' else provenance end;
begin
  v_given.instructions := alter_pipeline.instructions;
  v_given.prompt := alter_pipeline.prompt;
  v_given.placeholder_style := alter_pipeline.placeholder_style;
  v_given.model := alter_pipeline.model;
  v_given.endpoint := alter_pipeline.endpoint;
  v_given.format := alter_pipeline.format;
  v_given.params := alter_pipeline.params;
  v_given.filter := alter_pipeline.filter;
  v_given.own_schema := alter_pipeline.output_schema;
  v_given.chunk_size := alter_pipeline.chunk_size;
  v_given.flush_after := alter_pipeline.flush_after;
  v_given.max_attempts := alter_pipeline.max_attempts;
  v_given.budget_usd := alter_pipeline.budget_usd;
  v_given.daily_budget_usd := alter_pipeline.daily_budget_usd;
  perform rowmill.check_resets(
    to_jsonb(v_given) || jsonb_build_object('output_schema', alter_pipeline.output_schema, 'provenance', alter_pipeline.provenance),
    v_reset
  );
  -- One at a time, and not while a slice of results is written.
  perform from rowmill.pipelines as p where p.id = v_old.id for update;
  v_old := rowmill.pipeline_named(alter_pipeline.pipeline);
  if not exists (select from pg_class as c where c.oid = v_old.source)
    or not exists (select from pg_class as c where c.oid = v_old.target) then
    raise exception using errcode = 'RM201', message = rowmill.structure_problem(v_old.id),
      detail = 'A pipeline keeps the tables that it was declared over.', hint = format('select rowmill.drop_pipeline(%L);', v_old.name);
  end if;

  v_new := rowmill.altered_definition(v_old, v_given, v_reset);
  perform rowmill.check_values(v_new);
  if alter_pipeline.outputs is not null or v_provenance is not null
    or rowmill.version_fields(v_new)::text <> rowmill.version_fields(v_old)::text then
    v_new := rowmill.next_definition(v_old, v_new, alter_pipeline.outputs, v_provenance);
  else
    perform rowmill.check_trust(v_new);
  end if;
  perform rowmill.store_definition(v_old, v_new);
  return v_new.version;
end;
$$;
comment on function rowmill.alter_pipeline is
  'Changes a pipeline; returns the version that now holds. What is asked or filled makes a new version: rows are sent under it from the '
  'commit on, batches that are under way end under their own, and rows that are enriched stay as they are until re_enrich. Sizes, '
  'attempts and budgets make none. The name, the source and the target cannot be altered: drop the pipeline and create it again. '
  'Raises RM101, RM102, RM104, RM106 to RM109, RM111, RM114, RM117, RM201 (a table is gone), and then changes nothing. '
  'Called again with the same values it makes no further version.';
revoke all on function rowmill.alter_pipeline from public;

-- API: internal
create or replace function rowmill.altered_definition(
  old_definition rowmill.pipelines,
  given rowmill.pipelines, -- null leaves a value as it is; a blank filter takes it away
  reset text[] -- names of create_pipeline's parameters that go back to its defaults
)
returns rowmill.pipelines
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_new rowmill.pipelines := old_definition;
begin
  v_new.instructions := case
    when 'instructions' <> all (altered_definition.reset) then coalesce(given.instructions, old_definition.instructions)
  end;
  v_new.prompt := coalesce(given.prompt, old_definition.prompt);
  v_new.placeholder_style := case
    when 'placeholder_style' = any (altered_definition.reset) then 'braces'
    else coalesce(given.placeholder_style, old_definition.placeholder_style)
  end;
  v_new.model := coalesce(given.model, old_definition.model);
  v_new.endpoint := case
    when 'endpoint' = any (altered_definition.reset) then '/v1/chat/completions'
    else coalesce(given.endpoint, old_definition.endpoint)
  end;
  v_new.format := case
    when 'format' = any (altered_definition.reset) then 'json'
    else coalesce(given.format, old_definition.format)
  end;
  v_new.params := case
    when 'params' = any (altered_definition.reset) then '{}'
    else coalesce(given.params, old_definition.params)
  end;
  v_new.own_schema := case
    when 'output_schema' <> all (altered_definition.reset) then coalesce(given.own_schema, old_definition.own_schema)
  end;
  v_new.chunk_size := case
    when 'chunk_size' = any (altered_definition.reset) then 1000
    else coalesce(given.chunk_size, old_definition.chunk_size)
  end;
  v_new.flush_after := case
    when 'flush_after' = any (altered_definition.reset) then '1 minute'
    else coalesce(given.flush_after, old_definition.flush_after)
  end;
  v_new.max_attempts := case
    when 'max_attempts' = any (altered_definition.reset) then 3
    else coalesce(given.max_attempts, old_definition.max_attempts)
  end;
  v_new.budget_usd := case
    when 'budget_usd' <> all (altered_definition.reset) then coalesce(given.budget_usd, old_definition.budget_usd)
  end;
  v_new.daily_budget_usd := case
    when 'daily_budget_usd' <> all (altered_definition.reset) then coalesce(given.daily_budget_usd, old_definition.daily_budget_usd)
  end;
  v_new.filter := case
    when 'filter' = any (altered_definition.reset) then null
    when given.filter is null then old_definition.filter
    else nullif(btrim(given.filter), '')
  end;
  return v_new;
end;
$$;
comment on function rowmill.altered_definition is
  'A definition with the values that are given or reset in place of its own. Its columns (inputs, outputs, provenance, '
  'filter_columns) and its response_schema are the old ones: see next_definition.';
revoke all on function rowmill.altered_definition from public;

-- API: internal
create or replace function rowmill.answer_schema(
  source regclass, -- the table that is filled
  columns smallint[] -- its columns by number, in the order in which the model is to write them
)
returns json
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select json_build_object(
    'type', 'object',
    'properties', json_object_agg(
      a.attname,
      rowmill.value_schema(
        a.atttypid,
        not a.attnotnull and not rowmill.forbids_null(a.atttypid),
        col_description(answer_schema.source, a.attnum)
      )
      order by c.place
    ),
    'required', json_agg(a.attname order by c.place),
    'additionalProperties', false
  )
  from unnest(answer_schema.columns) with ordinality as c(attnum, place)
  join pg_attribute as a on a.attrelid = answer_schema.source and a.attnum = c.attnum;
$$;
comment on function rowmill.answer_schema is
  'The strict schema of an answer that fills these columns: a comment describes, "not null" forbids null. '
  'Strict mode wants every property required, so a nullable one may be null instead of missing.';
revoke all on function rowmill.answer_schema from public;

-- API: internal
create or replace function rowmill.base_type(type oid)
returns oid
language plpgsql
stable
strict
set search_path = pg_catalog, pg_temp
as $$
declare
  v_type oid := type;
  v_base oid;
begin
  loop
    select t.typbasetype into v_base from pg_type as t where t.oid = v_type and t.typtype = 'd';
    exit when not found;
    v_type := v_base;
  end loop;
  return v_type;
end;
$$;
comment on function rowmill.base_type is
  'The type under a domain, however deep; any other type is returned as it is.';
revoke all on function rowmill.base_type from public;

-- API: internal
create or replace function rowmill.check_cycle(definition rowmill.pipelines)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_path text;
begin
  -- Follow what is filled from here, pipeline by pipeline and table by table; coming back to what asks for our own rows
  -- again is a loop that never ends paying.
  with recursive others as (
    select p.name, p.source, p.target, p.inputs || p.filter_columns as reads, p.outputs || p.provenance as fills
    from rowmill.pipelines as p
    where p.state <> 'dropped' and p.id is distinct from definition.id
  ), filled(relation, attnum, path) as (
    select definition.target, o.value -> 'attnum', array[]::text[]
    from jsonb_array_elements(definition.outputs || definition.provenance) as o
    union
    select p.target, o.value -> 'attnum', f.path || p.name
    from filled as f
    join others as p on p.source = f.relation and p.name <> all (f.path)
    cross join lateral jsonb_array_elements(p.fills) as o
    where p.reads @> jsonb_build_array(jsonb_build_object('attnum', f.attnum))
    -- a pipeline's own outputs never ask it again
    and not (p.target = p.source and p.fills @> jsonb_build_array(jsonb_build_object('attnum', f.attnum)))
  )
  select array_to_string(f.path, ' -> ') into v_path
  from filled as f
  where f.relation = definition.source
  and definition.inputs || definition.filter_columns @> jsonb_build_array(jsonb_build_object('attnum', f.attnum))
  and not (
    definition.target = definition.source
    and definition.outputs || definition.provenance @> jsonb_build_array(jsonb_build_object('attnum', f.attnum))
  )
  limit 1;
  if v_path is not null then
    raise exception using errcode = 'RM108', message = 'this pipeline and others would feed each other for ever',
      detail = format('Its output comes back as its input through: %s.', v_path),
      hint = 'Take one of the columns out of a prompt, a filter or the outputs.';
  end if;
end;
$$;
comment on function rowmill.check_cycle is
  'Raises RM108 where chained pipelines would form a loop, over however many tables.';
revoke all on function rowmill.check_cycle from public;

-- API: internal
create or replace function rowmill.check_definition(
  definition rowmill.pipelines, -- inputs and filter_columns that are null are found
  outputs text[], -- null: those of the definition
  provenance jsonb -- {"column": "$value"}; null: that of the definition
)
returns rowmill.pipelines
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_result rowmill.pipelines := definition;
begin
  perform rowmill.check_values(v_result);
  -- Before anything of the table runs.
  perform rowmill.check_trust(v_result);
  if v_result.inputs is null then
    v_result.inputs := rowmill.prompt_inputs(v_result.source, v_result.prompt, v_result.placeholder_style);
  end if;
  if v_result.outputs is null or check_definition.outputs is not null then
    v_result.outputs := rowmill.check_outputs(
      v_result.target, check_definition.outputs, v_result.target_key_columns, v_result.format, v_result.own_schema
    );
  end if;
  perform rowmill.check_outputs_fit(v_result);
  if v_result.provenance is null or check_definition.provenance is not null then
    v_result.provenance := rowmill.check_provenance(v_result, check_definition.provenance);
  end if;

  v_result.response_schema := case when v_result.format = 'json' then coalesce(v_result.own_schema, rowmill.answer_schema(
    v_result.target,
    array(
      select (o.value ->> 'attnum')::smallint
      from jsonb_array_elements(v_result.outputs) with ordinality as o(value, place)
      order by o.place
    )
  )) end;
  if v_result.filter_columns is null then
    select f.columns, f.uses into strict v_result.filter_columns, v_result.filter_uses
    from rowmill.read_filter(v_result.source, v_result.filter) as f;
    perform rowmill.check_trust(v_result);
  end if;

  perform rowmill.check_unfilled_columns(v_result);
  perform rowmill.check_cycle(v_result);
  return v_result;
end;
$$;
comment on function rowmill.check_definition is
  'A definition, checked and with its columns by number and its schema. Source, target and their keys are checked before. '
  'Raises RM101, RM102, RM106 to RM109, RM114, RM117.';
revoke all on function rowmill.check_definition from public;

-- API: internal
create or replace function rowmill.check_kept_columns(
  definition rowmill.pipelines, -- inputs, filter_columns, outputs and provenance: what is kept, null where it is given anew
  name text -- the pipeline's, for the message
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_lost text;
begin
  select string_agg(format('%s (%s)', k.value ->> 'name', k.parameter), ', ') into v_lost
  from (
    select definition.source as relation, 'prompt' as parameter, i.value from jsonb_array_elements(definition.inputs) as i(value)
    union all
    select definition.source, 'filter', i.value from jsonb_array_elements(definition.filter_columns) as i(value)
    union all
    select definition.target, 'outputs', i.value from jsonb_array_elements(definition.outputs) as i(value)
    union all
    select definition.target, 'provenance', i.value from jsonb_array_elements(definition.provenance) as i(value)
  ) as k
  where rowmill.column_name(k.relation, (k.value ->> 'attnum')::integer) is null;
  if v_lost is not null then
    raise exception using errcode = 'RM101',
      message = format('dropped, and still named by pipeline "%s": %s', check_kept_columns.name, v_lost),
      detail = 'A new version would name them, too.', hint = 'Give the parameters in parentheses anew, without these columns.';
  end if;
end;
$$;
comment on function rowmill.check_kept_columns is
  'Whether the columns that an altered pipeline goes on naming are there. Raises RM101.';
revoke all on function rowmill.check_kept_columns from public;

-- API: internal
create or replace function rowmill.check_limits(definition rowmill.pipelines)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bad text;
begin
  if definition.chunk_size is null or definition.chunk_size not between 1 and 50000 then
    raise exception using errcode = 'RM109', message = 'chunk_size is out of range',
      detail = format('It is %s; a batch holds 50,000 requests at most.', coalesce(definition.chunk_size::text, 'null')),
      hint = 'Use 1 to 50000; 1000 suits most.';
  end if;
  if definition.max_attempts is null or definition.max_attempts not between 1 and 100 then
    raise exception using errcode = 'RM109', message = 'max_attempts is out of range',
      detail = format('It is %s.', coalesce(definition.max_attempts::text, 'null')), hint = 'Use 1 to 100; 3 suits most.';
  end if;
  if definition.flush_after is null or definition.flush_after < '0'::interval then
    raise exception using errcode = 'RM109', message = 'flush_after is not a duration',
      detail = format('It is %s.', coalesce(definition.flush_after::text, 'null')), hint = 'flush_after => ''1 minute''';
  end if;
  select string_agg(format('%s %s', b.name, b.usd), ', ') into v_bad
  from (values ('budget_usd', definition.budget_usd), ('daily_budget_usd', definition.daily_budget_usd)) as b(name, usd)
  where b.usd not between 0 and 1e15;
  if v_bad is not null then
    raise exception using errcode = 'RM109', message = format('that is no budget: %s', v_bad),
      detail = 'A budget is an amount of US dollars; 0 spends nothing, null has no limit.', hint = 'budget_usd => 25';
  end if;
end;
$$;
comment on function rowmill.check_limits is
  'Whether the sizes, times, attempts and budgets of a definition are in range: what makes no new version. Raises RM109.';
revoke all on function rowmill.check_limits from public;

-- API: internal
create or replace function rowmill.check_named_outputs(
  source regclass, -- the table that is filled
  outputs text[]
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_missing text[];
begin
  if coalesce(cardinality(check_named_outputs.outputs), 0) = 0 then
    raise exception using errcode = 'RM106', message = 'a pipeline needs at least one output column',
      detail = 'outputs is empty.', hint = 'outputs => array[''summary'']';
  end if;

  -- All that are missing at once, so that one statement adds them.
  select array_agg(o.name order by o.place) into v_missing
  from unnest(check_named_outputs.outputs) with ordinality as o(name, place)
  where not exists (
    select from pg_attribute as a
    where a.attrelid = check_named_outputs.source and a.attnum > 0 and not a.attisdropped and lower(a.attname) = lower(o.name)
  );
  if v_missing is not null then
    raise exception using errcode = 'RM101',
      message = format('output %s is not a column of %s',
        (select string_agg(format('"%s"', m.name), ', ') from unnest(v_missing) as m(name)), check_named_outputs.source),
      detail = 'Rowmill fills columns; it does not add them.',
      hint = format('alter table %s %s;', check_named_outputs.source,
        (select string_agg(format('add column %I text', m.name), ', ') from unnest(v_missing) as m(name)));
  end if;
end;
$$;
comment on function rowmill.check_named_outputs is
  'Whether there are outputs, and all of them are columns. Raises RM106 (none is named) or RM101 (with the statement that adds them all).';
revoke all on function rowmill.check_named_outputs from public;

-- API: internal
create or replace function rowmill.check_new_name(name text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if check_new_name.name is null or check_new_name.name !~ '^[A-Za-z0-9_][A-Za-z0-9_. -]{0,62}$' then
    raise exception using errcode = 'RM109', message = 'the name does not fit',
      detail = format('name is %L.', check_new_name.name),
      hint = 'Use 1 to 63 letters, digits, "_", "-", "." or blanks, e.g. name => ''movies''.';
  end if;
  if exists (select from rowmill.pipelines as p where p.name = check_new_name.name and p.state <> 'dropped') then
    raise exception using errcode = 'RM110', message = format('pipeline "%s" exists already', check_new_name.name),
      detail = 'Names are unique.',
      hint = format(
        'Choose another, change it with rowmill.alter_pipeline(%L, …), or first: select rowmill.drop_pipeline(%1$L);',
        check_new_name.name
      );
  end if;
end;
$$;
comment on function rowmill.check_new_name is
  'Whether a new pipeline may be called so. Raises RM109 (letters that do not fit) or RM110 (another has the name).';
revoke all on function rowmill.check_new_name from public;

-- API: internal
create or replace function rowmill.check_output_column(
  relation regclass,
  attnum smallint,
  name text, -- what the caller calls it
  keys smallint[], -- the columns of the key, in the same table
  needs_json_form boolean -- false where the answer is text, or the caller gave the schema of its own
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_output pg_catalog.pg_attribute;
begin
  select a.* into strict v_output
  from pg_attribute as a
  where a.attrelid = check_output_column.relation and a.attnum = check_output_column.attnum;
  if v_output.attnum = any (check_output_column.keys) then
    raise exception using errcode = 'RM106', message = format('output "%s" is part of the primary key', check_output_column.name),
      detail = 'An answer that changed the key would lose its row.', hint = 'Fill another column.';
  end if;
  if v_output.attgenerated <> '' or v_output.attidentity = 'a' then
    raise exception using errcode = 'RM106', message = format('output "%s" is generated by Postgres', check_output_column.name),
      detail = 'Nothing can be written to it.', hint = 'Fill a plain column.';
  end if;
  if check_output_column.needs_json_form and rowmill.value_schema(v_output.atttypid, true, null) is null then
    raise exception using errcode = 'RM107',
      message = format(
        'output "%s" has type %s, which has no JSON form', check_output_column.name, format_type(v_output.atttypid, v_output.atttypmod)
      ),
      detail = 'Text, booleans, numbers, enums, dates and times, uuid, json, arrays and domains of them have one.',
      hint = 'Change the column''s type, or say the form of its value with output_schema.';
  end if;
end;
$$;
comment on function rowmill.check_output_column is
  'Whether answers can be written to a column. Raises RM106 (part of the key, or generated) or RM107 (no JSON form).';
revoke all on function rowmill.check_output_column from public;

-- API: internal
create or replace function rowmill.check_outputs(
  source regclass, -- the table that is filled
  outputs text[],
  keys smallint[], -- the columns of the key, in the same table
  format text,
  output_schema json -- null: the schema is derived from the outputs
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_derived boolean := check_outputs.format = 'json' and check_outputs.output_schema is null;
  v_name text;
  v_column pg_catalog.pg_attribute;
  v_outputs jsonb := '[]'::jsonb;
  v_base oid;
begin
  perform rowmill.check_named_outputs(check_outputs.source, check_outputs.outputs);
  foreach v_name in array check_outputs.outputs loop
    v_column := rowmill.find_column(check_outputs.source, v_name, 'output');
    perform rowmill.check_output_column(check_outputs.source, v_column.attnum, v_name, check_outputs.keys, v_is_derived);
    if v_outputs @> jsonb_build_array(jsonb_build_object('attnum', v_column.attnum)) then
      raise exception using errcode = 'RM106', message = format('output "%s" is named twice', v_name),
        detail = format('outputs is %s.', check_outputs.outputs), hint = 'Name each column once.';
    end if;
    v_base := rowmill.base_type(v_column.atttypid);
    v_outputs := v_outputs || jsonb_build_object(
      'name', v_column.attname,
      'attnum', v_column.attnum,
      'encoding', case when v_is_derived and v_base in ('json'::regtype, 'jsonb'::regtype) then 'json_text' else 'value' end
    );
  end loop;

  if check_outputs.format = 'text' then
    if jsonb_array_length(v_outputs) <> 1 then
      raise exception using errcode = 'RM106', message = 'format ''text'' fills exactly one column',
        detail = format('outputs has %s.', jsonb_array_length(v_outputs)), hint = 'Name one output, or use format ''json''.';
    end if;
    if (select t.typcategory from pg_type as t where t.oid = v_base) <> 'S' then
      raise exception using errcode = 'RM107', message = format('format ''text'' cannot fill "%s"', v_outputs -> 0 ->> 'name'),
        detail = format('Its type is %s.', format_type(v_column.atttypid, v_column.atttypmod)),
        hint = 'Use a text column, or format ''json''.';
    end if;
  end if;
  return v_outputs;
end;
$$;
comment on function rowmill.check_outputs is
  'The output columns by number, as pipelines.outputs has them. Raises RM101, RM106 (not to be filled) or RM107 (no JSON form).';
revoke all on function rowmill.check_outputs from public;

-- API: internal
create or replace function rowmill.check_outputs_fit(
  definition rowmill.pipelines -- with inputs and outputs
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bad text;
begin
  if definition.target = definition.source then
    select string_agg(o.value ->> 'name', ', ') into v_bad
    from jsonb_array_elements(definition.outputs) as o
    join jsonb_array_elements(definition.inputs) as i on i.value -> 'attnum' = o.value -> 'attnum';
    if v_bad is not null then
      raise exception using errcode = 'RM108', message = format('output "%s" is also an input', v_bad),
        detail = 'Each answer would be an edit that asks again.', hint = 'Fill another column.';
    end if;
  end if;
  if definition.own_schema is not null then
    select string_agg(o.value ->> 'name', ', ') into v_bad
    from jsonb_array_elements(definition.outputs) as o
    where definition.own_schema -> 'properties' -> (o.value ->> 'name') is null;
    if v_bad is not null then
      raise exception using errcode = 'RM109', message = format('output_schema has no property for: %s', v_bad),
        detail = 'A column is filled from the property of its name.', hint = 'Add the property, or take the column out of outputs.';
    end if;
  end if;
end;
$$;
comment on function rowmill.check_outputs_fit is
  'Whether the outputs go with the inputs and with an output_schema. Raises RM108 (an output is an input) or RM109 (the schema lacks one).';
revoke all on function rowmill.check_outputs_fit from public;

-- API: internal
create or replace function rowmill.check_owner_rights(
  relation regclass,
  is_target boolean -- true: answers are inserted into it, too
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner name := rowmill.owner_name();
begin
  if has_table_privilege(v_owner, check_owner_rights.relation, 'select')
    and has_table_privilege(v_owner, check_owner_rights.relation, 'update')
    and (not check_owner_rights.is_target or has_table_privilege(v_owner, check_owner_rights.relation, 'insert')) then
    return;
  end if;
  raise exception using errcode = 'RM105',
    message = format(
      'role %s, which owns Rowmill, may not %s %s',
      v_owner, case when check_owner_rights.is_target then 'read, insert into and update' else 'read and update' end,
      check_owner_rights.relation
    ),
    detail = case
      when check_owner_rights.is_target then 'Answers are written under that role.'
      else 'Rows are read and answers are written under that role.'
    end,
    hint = format(
      'grant %s on %s to %I;',
      case when check_owner_rights.is_target then 'select, insert, update' else 'select, update' end,
      check_owner_rights.relation, v_owner
    );
end;
$$;
comment on function rowmill.check_owner_rights is
  'Whether the owner of Rowmill may read and write a table. Raises RM105, with the grant that it needs.';
revoke all on function rowmill.check_owner_rights from public;

-- API: internal
create or replace function rowmill.check_provenance(
  definition rowmill.pipelines, -- with inputs and outputs
  provenance jsonb -- {"column": "$value"}
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_given record;
  v_column pg_catalog.pg_attribute;
  v_base oid;
  v_types oid[];
  v_provenance jsonb := '[]'::jsonb;
begin
  if check_provenance.provenance is null or jsonb_typeof(check_provenance.provenance) <> 'object' then
    raise exception using errcode = 'RM109', message = 'provenance is not a JSON object',
      detail = format('It is %s.', coalesce(check_provenance.provenance::text, 'null')),
      hint = 'provenance => ''{"enriched_at": "$completed_at"}''';
  end if;
  for v_given in select p.key, p.value #>> '{}' as value from jsonb_each(check_provenance.provenance) as p order by p.key loop
    v_types := case v_given.value
      when '$batch_id' then array['integer', 'bigint', 'numeric', 'text', 'varchar']::regtype[]::oid[]
      when '$model' then array['text', 'varchar', 'bpchar', 'name']::regtype[]::oid[]
      when '$completed_at' then array['timestamptz', 'timestamp', 'date', 'text', 'varchar']::regtype[]::oid[]
      when '$version' then array['smallint', 'integer', 'bigint', 'numeric', 'text', 'varchar']::regtype[]::oid[]
    end;
    if v_types is null then
      raise exception using errcode = 'RM109', message = format('provenance "%s" is unknown', v_given.value),
        detail = format('It stands for column "%s".', v_given.key), hint = 'There are $batch_id, $model, $completed_at and $version.';
    end if;
    v_column := rowmill.find_column(definition.target, v_given.key, 'provenance column');
    if v_column.attnum = any (definition.target_key_columns) or v_column.attgenerated <> '' or v_column.attidentity = 'a' then
      raise exception using errcode = 'RM106', message = format('provenance column "%s" cannot be written', v_given.key),
        detail = 'It is part of the key, or generated by Postgres.', hint = 'Name a plain column.';
    end if;
    if definition.outputs || v_provenance @> jsonb_build_array(jsonb_build_object('attnum', v_column.attnum)) then
      raise exception using errcode = 'RM106', message = format('provenance column "%s" is filled twice', v_given.key),
        detail = 'It is an output, or named more than once.', hint = 'Name another column.';
    end if;
    if definition.target = definition.source
      and definition.inputs @> jsonb_build_array(jsonb_build_object('attnum', v_column.attnum)) then
      raise exception using errcode = 'RM108', message = format('provenance column "%s" is also an input', v_given.key),
        detail = 'Each answer would be an edit that asks again.', hint = 'Name another column.';
    end if;
    v_base := rowmill.base_type(v_column.atttypid);
    if v_base <> all (v_types) then
      raise exception using errcode = 'RM107',
        message = format(
          'column "%s" of type %s cannot take %s',
          v_given.key, format_type(v_column.atttypid, v_column.atttypmod), v_given.value
        ),
        detail = format('Types that can: %s.', (
          select string_agg(format_type(t.oid, null), ', ' order by t.place)
          from unnest(v_types) with ordinality as t(oid, place)
        )),
        hint = format(
          'alter table %s alter column %I type %s;',
          definition.target, v_column.attname, format_type(v_types[least(2, cardinality(v_types))], null)
        );
    end if;
    v_provenance := v_provenance || jsonb_build_object('name', v_column.attname, 'attnum', v_column.attnum, 'value', v_given.value);
  end loop;
  return v_provenance;
end;
$$;
comment on function rowmill.check_provenance is
  'The columns that say where an answer came from, by number, from {"column": "$value"}. Raises RM101, RM106, RM107, RM108, RM109.';
revoke all on function rowmill.check_provenance from public;

-- API: internal
create or replace function rowmill.check_resets(
  given jsonb, -- alter_pipeline's parameters by name; null where one is not given
  reset text[] -- names of create_pipeline's parameters
)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_known text[] := array[
    'instructions', 'format', 'output_schema', 'filter', 'params', 'endpoint', 'provenance', 'placeholder_style',
    'chunk_size', 'flush_after', 'max_attempts', 'budget_usd', 'daily_budget_usd'
  ];
  v_bad text;
begin
  select string_agg(coalesce(r.name, 'null'), ', ') into v_bad
  from unnest(check_resets.reset) as r(name)
  where r.name is null or r.name <> all (v_known);
  if v_bad is not null then
    raise exception using errcode = 'RM109', message = format('reset names what has no default: %s', v_bad),
      detail = 'It takes parameters back to what create_pipeline gives them.',
      hint = format('There are: %s.', array_to_string(v_known, ', '));
  end if;
  select string_agg(r.name, ', ') into v_bad
  from unnest(check_resets.reset) as r(name)
  where check_resets.given -> r.name <> 'null';
  if v_bad is not null then
    raise exception using errcode = 'RM109', message = format('given and reset at once: %s', v_bad),
      detail = 'One of both can hold.', hint = 'Leave one of them out.';
  end if;
end;
$$;
comment on function rowmill.check_resets is
  'Whether what is to be reset can be. Raises RM109.';
revoke all on function rowmill.check_resets from public;

-- API: internal
create or replace function rowmill.check_source(source regclass)
returns smallint[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_relation record;
  v_key smallint[];
  v_unfit text;
begin
  select c.relkind, c.relpersistence, n.nspname into v_relation
  from pg_class as c
  join pg_namespace as n on n.oid = c.relnamespace
  where c.oid = check_source.source;
  if check_source.source is null or not found then
    raise exception using errcode = 'RM103', message = 'the source is not a table',
      detail = format('source is %s.', coalesce(check_source.source::text, 'null')),
      hint = 'Name a table, e.g. source => ''public.films''.';
  end if;
  if v_relation.relkind not in ('r', 'p') then
    raise exception using errcode = 'RM103',
      message = format('%s is not a table', check_source.source),
      detail = format('It is a %s; triggers with keys need a table.', case v_relation.relkind
        when 'v' then 'view' when 'm' then 'materialized view' when 'f' then 'foreign table' else 'relation of another kind' end),
      hint = 'Name the table that the rows are inserted into.';
  end if;
  if v_relation.relpersistence = 't' then
    raise exception using errcode = 'RM103',
      message = format('%s is a temporary table', check_source.source),
      detail = 'It is gone when the session ends, and workers are other sessions.',
      hint = 'Make it an ordinary table, and name that.';
  end if;
  if v_relation.nspname in ('rowmill', 'pg_catalog', 'information_schema') then
    raise exception using errcode = 'RM103',
      message = format('%s belongs to the system', check_source.source),
      detail = 'A pipeline over it would feed on its own work.', hint = 'Name a table of your own.';
  end if;

  select i.indkey::smallint[] into v_key
  from pg_index as i
  where i.indrelid = check_source.source and i.indisprimary;
  if v_key is null then
    raise exception using errcode = 'RM104',
      message = format('%s has no primary key', check_source.source),
      detail = 'An answer finds its row by the primary key.',
      hint = format('Add one: alter table %s add column id bigint generated always as identity primary key;', check_source.source);
  end if;
  -- int2vector counts from 0
  v_key := array(select k.attnum from unnest(v_key) with ordinality as k(attnum, place) order by k.place);

  select string_agg(format('%s %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ') into v_unfit
  from pg_attribute as a
  join pg_type as t on t.oid = rowmill.base_type(a.atttypid)
  where a.attrelid = check_source.source and a.attnum = any (v_key)
  and (t.typcategory in ('A', 'C') or t.oid in ('json'::regtype, 'jsonb'::regtype));
  if v_unfit is not null then
    raise exception using errcode = 'RM104',
      message = format('the primary key of %s has a type that cannot travel as a key', check_source.source),
      detail = format('Arrays, composites and documents cannot: %s.', v_unfit),
      hint = 'Use a key of numbers, text, uuid, dates or the like.';
  end if;

  perform rowmill.check_owner_rights(check_source.source, is_target => false);
  return v_key;
end;
$$;
comment on function rowmill.check_source is
  'The key columns of a table fit for a pipeline, in the key''s order. Raises RM103 (no table of the caller''s own that stays), '
  'RM104 (no usable key), RM105 (no rights).';
revoke all on function rowmill.check_source from public;

-- API: internal
create or replace function rowmill.check_target(
  source regclass,
  keys smallint[], -- the columns of the source's key
  target regclass
)
returns smallint[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_relation record;
  v_key smallint;
  v_columns smallint[] := '{}'::smallint[];
begin
  if check_target.target = check_target.source then
    return check_target.keys;
  end if;
  select c.relkind, c.relpersistence, n.nspname into v_relation
  from pg_class as c
  join pg_namespace as n on n.oid = c.relnamespace
  where c.oid = check_target.target;
  if not found or v_relation.relkind not in ('r', 'p')
    or v_relation.nspname in ('rowmill', 'pg_catalog', 'information_schema') then
    raise exception using errcode = 'RM113', message = format('%s is no target', check_target.target),
      detail = 'Answers are written to an ordinary or partitioned table of your own.',
      hint = 'Make one: ' || rowmill.target_statement(check_target.source, check_target.keys);
  end if;
  if v_relation.relpersistence = 't' then
    raise exception using errcode = 'RM113', message = format('%s is a temporary table', check_target.target),
      detail = 'It is gone when the session ends, and workers are other sessions.',
      hint = 'Make one that stays: ' || rowmill.target_statement(check_target.source, check_target.keys);
  end if;

  foreach v_key in array check_target.keys loop
    v_columns := v_columns || rowmill.target_key_column(check_target.source, check_target.keys, v_key, check_target.target);
  end loop;
  if not rowmill.has_unique_index(check_target.target, v_columns) then
    raise exception using errcode = 'RM113',
      message = format('%s has no unique index over exactly its key columns', check_target.target),
      detail = 'An answer is inserted, or updates what its key finds; a partial, deferrable or expression index cannot find it.',
      hint = format('alter table %s add %s (%s);', check_target.target,
        case
          when exists (select from pg_index as i where i.indrelid = check_target.target and i.indisprimary) then 'unique'
          else 'primary key'
        end,
        (
          select string_agg(quote_ident(rowmill.column_name(check_target.target, k.attnum)), ', ' order by k.place)
          from unnest(v_columns) with ordinality as k(attnum, place)
        ));
  end if;

  perform rowmill.check_owner_rights(check_target.target, is_target => true);
  return v_columns;
end;
$$;
comment on function rowmill.check_target is
  'The columns of a target that hold the source''s key, in the key''s order. Raises RM113 (no fit target), RM105 (no rights).';
revoke all on function rowmill.check_target from public;

-- API: internal
create or replace function rowmill.check_trust(definition rowmill.pipelines)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner name := rowmill.owner_name();
  v_untrusted text := rowmill.untrusted_code(
    array[definition.source, definition.target]::oid[], coalesce(definition.filter_uses, '[]')
  );
begin
  if v_untrusted is not null then
    raise exception using errcode = 'RM117',
      message = format('code of another role would run with the rights of %I: %s', v_owner, v_untrusted),
      detail = format('Rows are read and answers are written as %I, which owns Rowmill, and so is all that runs then: triggers, types, '
        'operators, casts, checks, index expressions, generated columns, defaults, policies.', v_owner),
      hint = format('Give it to %I, take it off the table, or trust its owner with all that %1$I may do: '
        'update rowmill.settings set trusted_roles = trusted_roles || ''…''::name where only_row;', v_owner);
  end if;
end;
$$;
comment on function rowmill.check_trust is
  'Whether all code that reading and writing the rows of a definition runs belongs to a role that is trusted (is_trusted). Raises RM117.';
revoke all on function rowmill.check_trust from public;

-- API: internal
create or replace function rowmill.check_unfilled_columns(
  definition rowmill.pipelines -- with outputs and provenance
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bad text;
begin
  -- Rows of the source are there already: answers only update them.
  if definition.target = definition.source then
    return;
  end if;
  select string_agg(a.attname, ', ' order by a.attnum) into v_bad
  from pg_attribute as a
  join pg_type as t on t.oid = a.atttypid
  where a.attrelid = definition.target and a.attnum > 0 and not a.attisdropped
  and (a.attnotnull or rowmill.forbids_null(a.atttypid))
  and not a.atthasdef and a.attidentity = '' and t.typdefault is null
  and a.attnum <> all (definition.target_key_columns)
  and not definition.outputs || definition.provenance @> jsonb_build_array(jsonb_build_object('attnum', a.attnum));
  if v_bad is not null then
    raise exception using errcode = 'RM114',
      message = format('column %s of %s is not null and nobody fills it', v_bad, definition.target),
      detail = 'An answer whose row is not there yet is inserted with its key, its outputs and its provenance alone.',
      hint = 'Give the column a default, allow null in it, or make it an output.';
  end if;
end;
$$;
comment on function rowmill.check_unfilled_columns is
  'Whether an answer can be inserted into a target of its own. Raises RM114 where a column would be null that may not be.';
revoke all on function rowmill.check_unfilled_columns from public;

-- API: internal
create or replace function rowmill.check_values(definition rowmill.pipelines)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bad text;
begin
  if coalesce(definition.model, '') = '' then
    raise exception using errcode = 'RM109', message = 'a pipeline needs a model',
      detail = 'model is empty.', hint = 'model => ''gpt-4o-mini''';
  end if;
  if definition.format is null or definition.format not in ('json', 'text') then
    raise exception using errcode = 'RM109', message = format('format "%s" is unknown', definition.format),
      detail = 'It says how an answer becomes columns.', hint = 'Use ''json'' or ''text''.';
  end if;
  if definition.endpoint is null or definition.endpoint not in ('/v1/chat/completions', '/v1/responses') then
    raise exception using errcode = 'RM109', message = format('endpoint "%s" is unknown', definition.endpoint),
      detail = 'It is the provider''s route for each request.', hint = 'Use ''/v1/chat/completions'' or ''/v1/responses''.';
  end if;
  if definition.placeholder_style is null or definition.placeholder_style not in ('braces', 'brackets') then
    raise exception using errcode = 'RM109', message = format('placeholder_style "%s" is unknown', definition.placeholder_style),
      detail = 'It says how the prompt names columns.', hint = 'Use ''braces'' for {{Column}}, or ''brackets'' for [Column].';
  end if;
  if definition.params is null or jsonb_typeof(definition.params) <> 'object' then
    raise exception using errcode = 'RM109', message = 'params is not a JSON object',
      detail = format('It is %s.', coalesce(definition.params::text, 'null')), hint = 'params => ''{"temperature": 0}''';
  end if;
  select string_agg(k.key, ', ') into v_bad
  from jsonb_object_keys(definition.params) as k(key)
  where k.key in ('model', 'messages', 'input', 'instructions', 'response_format', 'stream', 'n', 'store', 'background', 'tools');
  if v_bad is not null then
    raise exception using errcode = 'RM109', message = format('params may not set: %s', v_bad),
      detail = 'Rowmill writes these itself, or cannot read an answer that is asked for so.', hint = 'Take them out of params.';
  end if;
  if definition.own_schema is not null and (
    definition.format = 'text'
    or json_typeof(definition.own_schema) <> 'object'
    or definition.own_schema ->> 'type' is distinct from 'object'
    or coalesce(json_typeof(definition.own_schema -> 'properties'), '') <> 'object'
  ) then
    raise exception using errcode = 'RM109', message = 'output_schema does not fit',
      detail = 'It must be the JSON Schema of an object with properties, and format must be ''json''.',
      hint = '{"type":"object","properties":{"summary":{"type":"string"}},"required":["summary"],"additionalProperties":false}';
  end if;
  perform rowmill.check_limits(definition);
end;
$$;
comment on function rowmill.check_values is
  'Whether the values of a definition are in range, apart from any table. Raises RM109.';
revoke all on function rowmill.check_values from public;

-- API: internal
create or replace function rowmill.column_name(source regclass, attnum integer)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select a.attname::text
  from pg_attribute as a
  where a.attrelid = column_name.source
  and a.attnum = column_name.attnum
  and not a.attisdropped;
$$;
comment on function rowmill.column_name is
  'Today''s name of a column by its number; null once it was dropped.';
revoke all on function rowmill.column_name from public;

-- API: public
create or replace function rowmill.create_pipeline(
  name text, -- unique; 1 to 63 letters, digits, "_", "-", "." or blanks
  source regclass, -- the table whose rows are enriched
  instructions text, -- the system message; null: none
  prompt text, -- the user message, with {{Column}} for each input
  outputs text[], -- columns of the target to fill
  model text, -- as the provider calls it
  format text default 'json', -- 'text' puts the raw answer into the one output
  output_schema json default null, -- overrides the schema that is derived from the outputs
  filter text default null, -- condition over the row, as after WHERE
  params jsonb default '{}', -- temperature, max_completion_tokens, reasoning_effort …
  endpoint text default '/v1/chat/completions', -- or '/v1/responses'
  chunk_size integer default 1000, -- rows, 1 to 50000
  flush_after interval default '1 minute', -- how long an incomplete chunk waits for more rows
  max_attempts integer default 3, -- how often a row is sent before it is a failure, 1 to 100
  target regclass default null, -- null: the source; another table gets an upsert by the key columns
  provenance jsonb default '{}', -- {"column": "$batch_id" | "$model" | "$completed_at" | "$version"}, columns of the target
  placeholder_style text default 'braces', -- 'brackets': the prompt has [Column]
  budget_usd numeric default null, -- what it may cost in all, in US dollars; null: no limit
  daily_budget_usd numeric default null, -- what it may cost in a day; null: no limit
  backfill boolean default false -- true queues the rows that are there already
)
returns bigint
language plpgsql
-- invoker: whoever declares a pipeline needs the right to put triggers on the table
set search_path = pg_catalog, pg_temp
as $$
declare
  v_new rowmill.pipelines;
  v_id bigint;
begin
  perform rowmill.check_new_name(create_pipeline.name);
  v_new.name := create_pipeline.name;
  v_new.source := create_pipeline.source;
  v_new.key_columns := rowmill.check_source(create_pipeline.source);
  v_new.target := coalesce(create_pipeline.target, create_pipeline.source);
  v_new.target_key_columns := rowmill.check_target(v_new.source, v_new.key_columns, v_new.target);
  v_new.filter := nullif(btrim(create_pipeline.filter), '');
  v_new.instructions := create_pipeline.instructions;
  v_new.prompt := create_pipeline.prompt;
  v_new.placeholder_style := create_pipeline.placeholder_style;
  v_new.model := create_pipeline.model;
  v_new.endpoint := create_pipeline.endpoint;
  v_new.format := create_pipeline.format;
  v_new.params := create_pipeline.params;
  v_new.own_schema := create_pipeline.output_schema;
  v_new.chunk_size := create_pipeline.chunk_size;
  v_new.flush_after := create_pipeline.flush_after;
  v_new.max_attempts := create_pipeline.max_attempts;
  v_new.budget_usd := create_pipeline.budget_usd;
  v_new.daily_budget_usd := create_pipeline.daily_budget_usd;
  v_new := rowmill.check_definition(v_new, create_pipeline.outputs, create_pipeline.provenance);

  v_id := rowmill.insert_pipeline(v_new);
  perform rowmill.try_definition(v_id);
  perform rowmill.write_trigger_functions(v_id);
  perform rowmill.attach_triggers(v_id);
  if create_pipeline.backfill then
    perform rowmill.backfill(create_pipeline.name);
  end if;
  return v_id;
end;
$$;
comment on function rowmill.create_pipeline is
  'Declares a pipeline and puts its triggers on the table; returns its id. From the next commit on, inserted and edited rows are queued. '
  'Refuses every mistake with message, detail and hint (RM101 to RM110, RM113, RM114, RM117), and then leaves nothing behind. '
  'Called again with the same name it raises RM110 and changes nothing: the first call is committed.';
revoke all on function rowmill.create_pipeline from public;

-- API: internal
create or replace function rowmill.definition_of(
  pipeline_id bigint,
  version integer default null -- null: the current one
)
returns rowmill.pipelines
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_definition json;
begin
  select p.* into v_pipeline from rowmill.pipelines as p where p.id = definition_of.pipeline_id;
  if not found or definition_of.version is null or definition_of.version = v_pipeline.version then
    return v_pipeline;
  end if;
  select v.definition into v_definition
  from rowmill.pipeline_versions as v
  where v.pipeline_id = definition_of.pipeline_id and v.version = definition_of.version;
  if not found then
    return null;
  end if;
  v_pipeline := json_populate_record(v_pipeline, v_definition);
  v_pipeline.version := definition_of.version;
  return v_pipeline;
end;
$$;
comment on function rowmill.definition_of is
  'A pipeline as it was in a version, or as it is now; state, problem, budgets and sizes are today''s. null where there is none.';
revoke all on function rowmill.definition_of from public;

-- API: public
create or replace function rowmill.drop_pipeline(pipeline text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_batch_id bigint;
begin
  perform rowmill.detach_triggers(v_pipeline.id);
  update rowmill.pipelines as p
  set state = 'dropped', dropped_at = now(), state_reason = null
  where p.id = v_pipeline.id;
  delete from rowmill.pending_keys as k where k.pipeline_id = v_pipeline.id;
  delete from rowmill.chunk_rows as r where r.pipeline_id = v_pipeline.id;
  delete from rowmill.failures as f where f.pipeline_id = v_pipeline.id;
  delete from rowmill.trigger_errors as e where e.pipeline_id = v_pipeline.id;
  delete from rowmill.backfills as b where b.pipeline_id = v_pipeline.id;
  delete from rowmill.pipeline_versions as v where v.pipeline_id = v_pipeline.id;
  delete from rowmill.row_versions as v where v.pipeline_id = v_pipeline.id;
  -- A worker that holds one of these finds it done and lets go.
  update rowmill.chunks as c
  set state = 'done', owner = null, lease_until = null, keys = null, ended_at = now(), waits_for = null, wait_reason = null
  where c.pipeline_id = v_pipeline.id and c.state <> 'done';
  -- Nobody waits for what still runs: it is cancelled at the provider, and its files are deleted.
  update rowmill.batch_processing_details as b
  set cancel_asked = true, poll_at = now()
  where b.pipeline_id = v_pipeline.id and b.state = 'running';
  for v_batch_id in
    select b.id from rowmill.batch_processing_details as b where b.pipeline_id = v_pipeline.id and b.state = 'ended' order by b.id
  loop
    perform rowmill.settle_money(v_batch_id);
  end loop;
  update rowmill.batch_processing_details as b
  set state = 'harvested', owner = null, lease_until = null
  where b.pipeline_id = v_pipeline.id and b.state = 'ended';
  update rowmill.batch_processing_details as b
  set cancel_asked = true
  where b.pipeline_id = v_pipeline.id and b.state = 'preparing';
end;
$$;
comment on function rowmill.drop_pipeline is
  'Takes the triggers off the table and forgets what is queued; batches that run are cancelled at the provider and their answers '
  'discarded. Columns and their contents stay. Raises RM111, also when it is called again: the pipeline is gone.';
revoke all on function rowmill.drop_pipeline from public;

-- API: internal
create or replace function rowmill.find_column(
  source regclass, -- the table, source or target
  wanted text,
  used_as text -- what it is, for the message: placeholder, output …
)
returns pg_catalog.pg_attribute
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_column pg_catalog.pg_attribute;
  v_matches integer;
begin
  select a.* into v_column
  from pg_attribute as a
  where a.attrelid = find_column.source and a.attnum > 0 and not a.attisdropped and a.attname = find_column.wanted;
  if found then
    return v_column;
  end if;

  select count(*) into strict v_matches
  from pg_attribute as a
  where a.attrelid = find_column.source and a.attnum > 0 and not a.attisdropped
  and lower(a.attname) = lower(find_column.wanted);
  if v_matches = 1 then
    select a.* into strict v_column
    from pg_attribute as a
    where a.attrelid = find_column.source and a.attnum > 0 and not a.attisdropped
    and lower(a.attname) = lower(find_column.wanted);
    return v_column;
  end if;

  raise exception using
    errcode = 'RM101',
    message = format('%s "%s" is not a column of %s', find_column.used_as, find_column.wanted, find_column.source),
    detail = case
      when v_matches > 1 then 'Several columns match it without regard to case; write it exactly.'
      else format('Its columns are: %s.', (
        select string_agg(a.attname, ', ' order by a.attnum)
        from pg_attribute as a
        where a.attrelid = find_column.source and a.attnum > 0 and not a.attisdropped
      ))
    end,
    hint = case
      when find_column.used_as = 'output' and v_matches = 0
        then format('Add it first: alter table %s add column %I text;', find_column.source, find_column.wanted)
      else 'Write the name as the table has it.'
    end;
end;
$$;
comment on function rowmill.find_column is
  'A column by its name, exactly or, where exactly one matches, without regard to case. Raises RM101.';
revoke all on function rowmill.find_column from public;

-- API: internal
create or replace function rowmill.forbids_null(type oid)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with recursive domains(base, forbids) as (
    select t.typbasetype, t.typnotnull from pg_type as t where t.oid = forbids_null.type and t.typtype = 'd'
    union all
    select t.typbasetype, t.typnotnull from domains as d join pg_type as t on t.oid = d.base and t.typtype = 'd'
  )
  select coalesce(bool_or(d.forbids), false) from domains as d;
$$;
comment on function rowmill.forbids_null is
  'Whether a type is a domain that is "not null", or stands over one that is.';
revoke all on function rowmill.forbids_null from public;

-- API: worker
create or replace function rowmill.get_pipeline(
  pipeline_id bigint,
  version integer default null -- null: the current one
)
returns json
language sql
stable
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
  select json_build_object(
    'id', p.id, 'name', p.name, 'version', p.version,
    'instructions', p.instructions, 'prompt', p.prompt, 'placeholder_style', p.placeholder_style,
    'inputs', (
      select json_agg(i.value -> 'name' order by i.place)
      from jsonb_array_elements(p.inputs) with ordinality as i(value, place)
    ),
    'outputs', (
      select json_agg(json_build_object('name', o.value -> 'name', 'encoding', o.value -> 'encoding') order by o.place)
      from jsonb_array_elements(p.outputs) with ordinality as o(value, place)
    ),
    'model', p.model, 'endpoint', p.endpoint, 'format', p.format, 'params', p.params,
    'output_cap', case when rowmill.has_budget(p.id) then s.max_output_tokens end,
    'response_schema_text', p.response_schema::text
  )
  from rowmill.definition_of(get_pipeline.pipeline_id, get_pipeline.version) as p
  cross join rowmill.settings as s
  where p.id is not null;
$$;
comment on function rowmill.get_pipeline is
  'What a worker must know of a version of a pipeline to ask and to read answers; null where there is none. The schema comes as text: '
  'the order of its properties matters. It only reads: a retry is harmless.';
revoke all on function rowmill.get_pipeline from public;

-- API: internal
create or replace function rowmill.has_before_triggers(source regclass)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select
    from pg_trigger as t
    where t.tgrelid in (select has_before_triggers.source union select p.relid from pg_partition_tree(has_before_triggers.source) as p)
    and not t.tgisinternal
    and t.tgname not like 'rowmill\_%'
    and (t.tgtype & 1) = 1 -- for each row
    and (t.tgtype & 2) = 2 -- before
    and (t.tgtype & 16) = 16 -- update
  );
$$;
comment on function rowmill.has_before_triggers is
  'Whether a BEFORE trigger may change columns that no UPDATE names: "update of" would not see such an edit.';
revoke all on function rowmill.has_before_triggers from public;

-- API: internal
create or replace function rowmill.has_unique_index(target regclass, columns smallint[])
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select
    from pg_index as i
    where i.indrelid = has_unique_index.target
    and i.indisunique and i.indimmediate and i.indisvalid and i.indpred is null and i.indexprs is null
    and i.indnkeyatts = cardinality(has_unique_index.columns)
    and (
      -- int2vector counts from 0, and columns that are merely included come last
      select bool_and(k.attnum = any (has_unique_index.columns))
      from unnest(i.indkey::smallint[]) with ordinality as k(attnum, place)
      where k.place <= i.indnkeyatts
    )
  );
$$;
comment on function rowmill.has_unique_index is
  'Whether an upsert by exactly these columns is possible.';
revoke all on function rowmill.has_unique_index from public;

-- API: internal
create or replace function rowmill.insert_pipeline(
  definition rowmill.pipelines -- as check_definition returns it; id, the names of the tables and what is not declared are ignored
)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id bigint;
begin
  insert into rowmill.pipelines (
    name, source, source_name, target, target_name, key_columns, target_key_columns, inputs, outputs, provenance,
    filter, filter_columns, filter_uses, instructions, prompt, placeholder_style, model, endpoint, format, params, response_schema,
    own_schema, chunk_size, flush_after, max_attempts, budget_usd, daily_budget_usd
  )
  select
    definition.name, definition.source, s.relname, definition.target, t.relname,
    definition.key_columns, definition.target_key_columns, definition.inputs, definition.outputs, definition.provenance,
    definition.filter, definition.filter_columns, definition.filter_uses, definition.instructions, definition.prompt,
    definition.placeholder_style, definition.model, definition.endpoint, definition.format, definition.params, definition.response_schema,
    definition.own_schema, definition.chunk_size, definition.flush_after, definition.max_attempts,
    definition.budget_usd, definition.daily_budget_usd
  from pg_class as s, pg_class as t
  where s.oid = definition.source and t.oid = definition.target
  returning id into strict v_id;
  return v_id;
end;
$$;
comment on function rowmill.insert_pipeline is
  'Stores a new pipeline in its first version, with the names that its tables have now; returns its id.';
revoke all on function rowmill.insert_pipeline from public;

-- API: internal
create or replace function rowmill.json_format(type oid)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when json_format.type = 'uuid'::regtype then 'uuid'
    when json_format.type = 'date'::regtype then 'date'
    when json_format.type in ('timestamp'::regtype, 'timestamptz'::regtype) then 'date-time'
    when json_format.type = 'interval'::regtype then 'duration'
    when json_format.type in ('time'::regtype, 'timetz'::regtype) then 'time'
  end;
$$;
comment on function rowmill.json_format is
  'JSON Schema''s "format" of a base type whose values are strings of one form; null for any other.';
revoke all on function rowmill.json_format from public;

-- API: internal
create or replace function rowmill.json_kind(type oid)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when t.oid in ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype, 'name'::regtype) or t.typname = 'citext' then 'string'
    when t.oid = 'boolean'::regtype then 'boolean'
    when t.oid in ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype) then 'integer'
    when t.oid in ('real'::regtype, 'double precision'::regtype, 'numeric'::regtype) then 'number'
    -- A strict schema knows no free-form object, so the document comes as the text of one.
    when t.oid in ('json'::regtype, 'jsonb'::regtype) then 'string'
    when rowmill.json_format(t.oid) is not null then 'string'
  end
  from pg_type as t
  where t.oid = json_kind.type;
$$;
comment on function rowmill.json_kind is
  'JSON Schema''s "type" of a value of a base type; null for enums and arrays, which need more than that, and for a '
  'type without a JSON form.';
revoke all on function rowmill.json_kind from public;

-- API: internal
create or replace function rowmill.next_definition(
  old_definition rowmill.pipelines,
  new_definition rowmill.pipelines, -- as altered_definition returns it
  outputs text[], -- null: those of the old definition
  provenance jsonb -- {"column": "$value"}; null: that of the old definition
)
returns rowmill.pipelines
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_new rowmill.pipelines := new_definition;
  v_kept rowmill.pipelines;
  v_outputs text[] := outputs;
  v_provenance jsonb := provenance;
begin
  -- What is as it was keeps the names that it was written with; the rest sees the table as it is.
  if v_new.prompt is distinct from old_definition.prompt or v_new.placeholder_style <> old_definition.placeholder_style then
    v_new.inputs := null;
  end if;
  if v_new.filter is distinct from old_definition.filter then
    v_new.filter_columns := null;
    v_new.filter_uses := null;
    select c.relname into strict v_new.source_name from pg_class as c where c.oid = old_definition.source;
  end if;
  v_kept := v_new;
  v_kept.outputs := case when v_outputs is null then old_definition.outputs end;
  v_kept.provenance := case when v_provenance is null then old_definition.provenance end;
  perform rowmill.check_kept_columns(v_kept, old_definition.name);
  -- A schema of one's own goes on naming its properties as it does.
  if v_outputs is null
    and (v_new.own_schema is null or v_new.own_schema::text is distinct from old_definition.own_schema::text) then
    select array_agg(rowmill.column_name(old_definition.target, (o.value ->> 'attnum')::integer) order by o.place) into strict v_outputs
    from jsonb_array_elements(old_definition.outputs) with ordinality as o(value, place);
  end if;
  if v_provenance is null then
    select coalesce(jsonb_object_agg(rowmill.column_name(old_definition.target, (o.value ->> 'attnum')::integer), o.value -> 'value'), '{}')
    into strict v_provenance
    from jsonb_array_elements(old_definition.provenance) as o(value);
  end if;
  v_new := rowmill.check_definition(v_new, v_outputs, v_provenance);
  if rowmill.version_fields(v_new)::text <> rowmill.version_fields(old_definition)::text then
    v_new.version := old_definition.version + 1;
  end if;
  return v_new;
end;
$$;
comment on function rowmill.next_definition is
  'An altered definition, checked, with its columns by number, its schema, and the next version where anything of it differs. Raises '
  'RM101, RM102, RM106 to RM109, RM114, RM117.';
revoke all on function rowmill.next_definition from public;

-- API: internal
create or replace function rowmill.parts_of_view(view regclass)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_agg(distinct jsonb_build_object('catalog', d.refclassid::regclass, 'schema', n.nspname, 'name', o.name)), '[]')
  from pg_rewrite as w
  join pg_depend as d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
  cross join lateral (
    select f.pronamespace, f.proname from pg_proc as f where d.refclassid = 'pg_proc'::regclass and f.oid = d.refobjid
    union all
    select r.oprnamespace, r.oprname from pg_operator as r where d.refclassid = 'pg_operator'::regclass and r.oid = d.refobjid
    union all
    select t.typnamespace, t.typname from pg_type as t where d.refclassid = 'pg_type'::regclass and t.oid = d.refobjid
    union all
    select c.relnamespace, c.relname from pg_class as c
    where d.refclassid = 'pg_class'::regclass and c.oid = d.refobjid and c.oid <> parts_of_view.view
  ) as o(namespace, name)
  join pg_namespace as n on n.oid = o.namespace
  where w.ev_class = parts_of_view.view;
$$;
comment on function rowmill.parts_of_view is
  'The functions, operators, types and relations that a view''s query names, as pipelines.filter_uses has them; what Postgres brings '
  'along is not among them.';
revoke all on function rowmill.parts_of_view from public;

-- API: public
create or replace function rowmill.pause_pipeline(
  pipeline text,
  reason text default null -- stands in pipelines.state_reason; flush tells it
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
begin
  update rowmill.pipelines as p
  set state = 'paused', state_reason = pause_pipeline.reason
  where p.id = v_pipeline.id;
end;
$$;
comment on function rowmill.pause_pipeline is
  'Sends nothing more. Rows go on being queued, and what runs at the provider is collected. Raises RM111. '
  'Called again it replaces the reason, and changes nothing else.';
revoke all on function rowmill.pause_pipeline from public;

-- API: internal
create or replace function rowmill.pipeline_named(name text)
returns rowmill.pipelines
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
begin
  select p.* into v_pipeline from rowmill.pipelines as p where p.name = pipeline_named.name and p.state <> 'dropped';
  if not found then
    raise exception using errcode = 'RM111', message = format('there is no pipeline "%s"', pipeline_named.name),
      detail = coalesce(
        (
          select format('There are: %s.', string_agg(p.name, ', ' order by p.name))
          from rowmill.pipelines as p
          where p.state <> 'dropped'
          having count(*) > 0
        ),
        'There are none.'
      ),
      hint = 'select name from rowmill.pipeline_status;';
  end if;
  return v_pipeline;
end;
$$;
comment on function rowmill.pipeline_named is
  'A pipeline by its name. Raises RM111, with the names that there are.';
revoke all on function rowmill.pipeline_named from public;

-- API: internal
create or replace function rowmill.pipeline_problem(pipeline_id bigint)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_problem text := coalesce(rowmill.structure_problem(pipeline_id), rowmill.trigger_problem(pipeline_id));
  v_error record;
begin
  if v_problem is not null then
    return v_problem;
  end if;
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = pipeline_problem.pipeline_id;
  if v_pipeline.problem is not null then
    return v_pipeline.problem;
  end if;
  select e.what, e.sqlstate, e.message into v_error
  from rowmill.trigger_errors as e
  where e.pipeline_id = v_pipeline.id
  order by e.what <> 'chunk' desc, e.happened_at desc
  limit 1;
  if found then
    return format('%s for the tick: %s (%s)',
      case v_error.what when 'chunk' then 'a chunk waits' else 'keys that could not be queued wait' end, v_error.message, v_error.sqlstate);
  end if;
  return null;
end;
$$;
comment on function rowmill.pipeline_problem is 'What is wrong with a pipeline now, and what to do, in words; null where nothing is.';
revoke all on function rowmill.pipeline_problem from public;

-- API: internal
create or replace function rowmill.prompt_inputs(
  source regclass,
  prompt text,
  placeholder_style text -- braces or brackets
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_placeholder text;
  v_column pg_catalog.pg_attribute;
  v_inputs jsonb := '[]'::jsonb;
begin
  for v_placeholder in
    select btrim(m.match[1], E' \t\n\r')
    from regexp_matches(
      coalesce(prompt_inputs.prompt, ''),
      case prompt_inputs.placeholder_style when 'braces' then '\{\{([^{}]+)\}\}' else '\[([^][]+)\]' end,
      'g'
    ) as m(match)
  loop
    v_column := rowmill.find_column(prompt_inputs.source, v_placeholder, 'placeholder');
    if not v_inputs @> jsonb_build_array(jsonb_build_object('attnum', v_column.attnum)) then
      v_inputs := v_inputs || jsonb_build_object('name', v_column.attname, 'attnum', v_column.attnum);
    end if;
  end loop;
  if v_inputs = '[]' then
    raise exception using errcode = 'RM109', message = 'the prompt names no column',
      detail = 'Every row would get the same answer, and each would be paid for.',
      hint = case prompt_inputs.placeholder_style
        when 'braces' then 'Write columns as {{Column}}, e.g. prompt => ''Title: {{title}}''.'
        else 'Write columns as [Column], e.g. prompt => ''Title: [title]''.'
      end;
  end if;
  return v_inputs;
end;
$$;
comment on function rowmill.prompt_inputs is
  'The columns that a prompt names, as pipelines.inputs has them. Raises RM101 (no such column), RM109 (none at all).';
revoke all on function rowmill.prompt_inputs from public;

-- API: internal
create or replace function rowmill.read_filter(
  source regclass,
  filter text, -- null: there is none
  out columns jsonb, -- as pipelines.filter_columns has them
  out uses jsonb -- as pipelines.filter_uses has them
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_probe refcursor;
  v_view regclass;
  v_temporary text;
begin
  columns := '[]';
  uses := '[]';
  if read_filter.filter is null then
    return;
  end if;
  begin
    -- A cursor takes one query alone; "execute" would run whatever follows a parenthesis that the filter closes.
    open v_probe for execute format(E'select from %s where (%s\n)', read_filter.source, read_filter.filter);
    close v_probe;
    -- A view knows what its query reads; this one lives for three statements.
    execute format(
      E'create temporary view rowmill_filter_probe as select 1 as one from %s where (%s\n)', read_filter.source, read_filter.filter
    );
  exception when others then
    raise exception using
      errcode = 'RM102',
      message = format('the filter is not a condition over %s', read_filter.source),
      detail = format('%s: %s', read_filter.filter, sqlerrm),
      hint = 'Write it as after WHERE, e.g. ''description is not null''; name functions of your own with their schema.';
  end;
  v_view := to_regclass('pg_temp.rowmill_filter_probe');
  v_temporary := rowmill.temporary_parts_of(v_view);
  if v_temporary is not null then
    raise exception using
      errcode = 'RM102',
      message = format('the filter reads what is temporary: %s', v_temporary),
      detail = 'It is gone when the session ends, and workers are other sessions.',
      hint = 'Use types, functions and tables that stay.';
  end if;
  uses := rowmill.parts_of_view(v_view);
  select coalesce(jsonb_agg(jsonb_build_object('name', a.attname, 'attnum', a.attnum) order by a.attnum), '[]')
  into strict columns
  from pg_attribute as a
  where a.attrelid = read_filter.source
  and a.attnum in (
    select d.refobjsubid
    from pg_depend as d
    join pg_rewrite as w on w.oid = d.objid
    where d.classid = 'pg_rewrite'::regclass
    and w.ev_class = v_view
    and d.refobjid = read_filter.source
    and d.refobjsubid > 0
  );
  drop view pg_temp.rowmill_filter_probe;
end;
$$;
comment on function rowmill.read_filter is
  'The columns that a filter reads, and what else it names. Raises RM102 where it is no condition, or depends on what is temporary.';
revoke all on function rowmill.read_filter from public;

-- API: public
create or replace function rowmill.resume_pipeline(pipeline text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
begin
  update rowmill.pipelines as p
  set
    state = 'active', state_reason = null, problem = null, problem_at = null, problem_by = null,
    failed_in_row = 0, rows_failed_in_row = 0, strikes = 0, wait_until = null, wait_reason = null
  where p.id = v_pipeline.id;
end;
$$;
comment on function rowmill.resume_pipeline is
  'Goes on with what is queued, and forgets the problem, waits and failures in a row. Raises RM111. '
  'For a pipeline that is active already it does the same: a retry is harmless.';
revoke all on function rowmill.resume_pipeline from public;

-- API: internal
create or replace function rowmill.selected_condition(definition rowmill.pipelines)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_selected text := 'true';
  v_chained text;
begin
  -- The filter sees the columns under the names that they had when it was written.
  if definition.filter is not null then
    select format(
      E'(select (%s\n) from (select %s) as %I)',
      definition.filter,
      coalesce(string_agg(format('s.%I as %I', a.attname, f.value ->> 'name'), ', ' order by f.place), '1'),
      definition.source_name
    )
    into strict v_selected
    from jsonb_array_elements(definition.filter_columns) with ordinality as f(value, place)
    join pg_attribute as a on a.attrelid = definition.source and a.attnum = (f.value ->> 'attnum')::integer;
  end if;

  -- An input that another pipeline fills is waited for: its arrival is an edit, which queues the row.
  select string_agg(
    distinct format('s.%I is not null', rowmill.column_name(definition.source, (i.value ->> 'attnum')::integer)), ' and '
  )
  into v_chained
  from jsonb_array_elements(definition.inputs) as i
  where exists (
    select
    from rowmill.pipelines as p
    where p.target = definition.source
    and p.id <> definition.id
    and p.state <> 'dropped'
    and p.outputs || p.provenance @> jsonb_build_array(jsonb_build_object('attnum', i.value -> 'attnum'))
  );
  return concat_ws(' and ', v_selected, v_chained);
end;
$$;
comment on function rowmill.selected_condition is
  'The condition over a row of the source, aliased as s, under which the pipeline wants it: its filter holds, and the inputs that '
  'other pipelines fill are there.';
revoke all on function rowmill.selected_condition from public;

-- API: internal
create or replace function rowmill.source_parts_of(
  pipeline_id bigint,
  version integer default null -- null: the current one
)
returns rowmill.source_parts
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_problem text := rowmill.structure_problem(pipeline_id, version);
  v_parts rowmill.source_parts;
begin
  if v_problem is not null then
    raise exception using errcode = 'RM201', message = v_problem;
  end if;
  v_pipeline := rowmill.definition_of(source_parts_of.pipeline_id, source_parts_of.version);
  v_parts.relation := v_pipeline.source::text;
  v_parts := rowmill.add_key_parts(v_parts, v_pipeline);
  v_parts := rowmill.add_input_parts(v_parts, v_pipeline);
  v_parts.selected := rowmill.selected_condition(v_pipeline);
  v_parts := rowmill.add_output_parts(v_parts, v_pipeline);
  if v_pipeline.target <> v_pipeline.source then
    v_parts := rowmill.add_target_parts(v_parts, v_pipeline);
  end if;
  return v_parts;
end;
$$;
comment on function rowmill.source_parts_of is
  'The pieces of SQL that forming, reading and applying are made of, for a version. Raises RM201 '
  'where a table or a column is gone, or somebody else''s code would run (structure_problem).';
revoke all on function rowmill.source_parts_of from public;

-- API: internal
create or replace function rowmill.stop_pipeline(
  pipeline_id bigint,
  reason text -- a sentence with its full stop
)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  update rowmill.pipelines as p
  set state = 'paused', state_reason = format('%s Once it is mended: select rowmill.resume_pipeline(%L);', stop_pipeline.reason, p.name)
  where p.id = stop_pipeline.pipeline_id and p.state = 'active';
$$;
comment on function rowmill.stop_pipeline is
  'Pauses a pipeline that would only go on to fail, with the reason and what to do.';
revoke all on function rowmill.stop_pipeline from public;

-- API: internal
create or replace function rowmill.store_definition(
  old_definition rowmill.pipelines, -- as it stands in the table, locked
  new_definition rowmill.pipelines
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if new_definition.version > old_definition.version then
    insert into rowmill.pipeline_versions (pipeline_id, version, definition)
    values (old_definition.id, old_definition.version, rowmill.version_fields(old_definition));
  end if;
  update rowmill.pipelines as p
  set
    version = new_definition.version, source_name = new_definition.source_name, inputs = new_definition.inputs,
    outputs = new_definition.outputs, provenance = new_definition.provenance, filter = new_definition.filter,
    filter_columns = new_definition.filter_columns, filter_uses = new_definition.filter_uses, instructions = new_definition.instructions,
    prompt = new_definition.prompt, placeholder_style = new_definition.placeholder_style, model = new_definition.model,
    endpoint = new_definition.endpoint, format = new_definition.format, params = new_definition.params,
    response_schema = new_definition.response_schema, own_schema = new_definition.own_schema,
    chunk_size = new_definition.chunk_size, flush_after = new_definition.flush_after,
    max_attempts = new_definition.max_attempts, budget_usd = new_definition.budget_usd,
    daily_budget_usd = new_definition.daily_budget_usd
  where p.id = old_definition.id;
  if new_definition.version > old_definition.version then
    perform rowmill.try_definition(old_definition.id);
  end if;
  if new_definition.chunk_size <> old_definition.chunk_size then
    perform rowmill.write_trigger_functions(old_definition.id);
  end if;
  if rowmill.watched_columns(new_definition) <> rowmill.watched_columns(old_definition) then
    perform rowmill.attach_triggers(old_definition.id, anew => true);
  end if;
end;
$$;
comment on function rowmill.store_definition is
  'Puts an altered definition in the place of the old one, which stays in pipeline_versions if the version is another; plans what will '
  'run, and makes the triggers follow. Raises RM102, RM104.';
revoke all on function rowmill.store_definition from public;

-- API: internal
create or replace function rowmill.structure_problem(
  pipeline_id bigint,
  version integer default null -- null: the current one
)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.definition_of(pipeline_id, version);
  v_lost text;
begin
  if v_pipeline.id is null then
    return format('there is no version %s of pipeline %s', structure_problem.version, structure_problem.pipeline_id);
  end if;
  if not exists (select from pg_class as c where c.oid = v_pipeline.source) then
    return format('the source table %s was dropped; drop_pipeline(%L) ends the pipeline', v_pipeline.source_name, v_pipeline.name);
  end if;
  if not exists (select from pg_class as c where c.oid = v_pipeline.target) then
    return format('the target table %s was dropped; drop_pipeline(%L) ends the pipeline', v_pipeline.target_name, v_pipeline.name);
  end if;

  select string_agg(format('%s %s', w.role, w.name), ', ' order by w.role, w.name) into v_lost
  from (
    select v_pipeline.source as relation, 'key column' as role, k.attnum::text as name, k.attnum::integer as attnum
    from unnest(v_pipeline.key_columns) as k(attnum)
    union all
    select v_pipeline.source, 'input column', i.value ->> 'name', (i.value ->> 'attnum')::integer
    from jsonb_array_elements(v_pipeline.inputs) as i
    union all
    select v_pipeline.source, 'filter column', f.value ->> 'name', (f.value ->> 'attnum')::integer
    from jsonb_array_elements(v_pipeline.filter_columns) as f
    union all
    select v_pipeline.target, 'output column', o.value ->> 'name', (o.value ->> 'attnum')::integer
    from jsonb_array_elements(v_pipeline.outputs) as o
    union all
    select v_pipeline.target, 'provenance column', o.value ->> 'name', (o.value ->> 'attnum')::integer
    from jsonb_array_elements(v_pipeline.provenance) as o
    union all
    select v_pipeline.target, 'target''s key column', k.attnum::text, k.attnum::integer
    from unnest(v_pipeline.target_key_columns) as k(attnum)
    where v_pipeline.target <> v_pipeline.source
  ) as w
  where rowmill.column_name(w.relation, w.attnum) is null;
  if v_lost is not null then
    return format('dropped from %s: %s; drop_pipeline(%L) and create it again without, or alter_pipeline where it is no key',
      concat_ws(' or ', v_pipeline.source, nullif(v_pipeline.target, v_pipeline.source)),
      v_lost, v_pipeline.name);
  end if;

  if v_pipeline.target <> v_pipeline.source and not rowmill.has_unique_index(v_pipeline.target, v_pipeline.target_key_columns) then
    return format('the unique index of %s over its key was dropped: alter table %1$s add unique (%s);', v_pipeline.target, (
      select string_agg(quote_ident(rowmill.column_name(v_pipeline.target, k.attnum)), ', ' order by k.place)
      from unnest(v_pipeline.target_key_columns) with ordinality as k(attnum, place)
    ));
  end if;
  return rowmill.trust_problem(array[v_pipeline.source, v_pipeline.target], v_pipeline.filter_uses);
end;
$$;
comment on function rowmill.structure_problem is
  'Why the rows of a pipeline''s tables can neither be read nor written, in words: something is gone, or somebody else''s code would run '
  'with the rights of Rowmill''s owner. null where nothing is wrong.';
revoke all on function rowmill.structure_problem from public;

-- API: internal
create or replace function rowmill.target_key_column(
  source regclass,
  keys smallint[], -- all columns of the source's key, for hints
  key_column smallint, -- the one of them that is looked for
  target regclass
)
returns smallint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key pg_catalog.pg_attribute;
  v_column pg_catalog.pg_attribute;
begin
  select a.* into strict v_key
  from pg_attribute as a
  where a.attrelid = target_key_column.source and a.attnum = target_key_column.key_column;
  begin
    v_column := rowmill.find_column(target_key_column.target, v_key.attname, 'key column');
  exception when sqlstate 'RM101' then
    raise exception using errcode = 'RM113', message = format('%s has no column "%s"', target_key_column.target, v_key.attname),
      detail = format('It is part of the key of %s, by which an answer finds its row.', target_key_column.source),
      hint = 'The target needs the key, e.g.: ' || rowmill.target_statement(target_key_column.source, target_key_column.keys);
  end;
  -- A column that rounds or cuts would make one key of two.
  if rowmill.base_type(v_column.atttypid) <> rowmill.base_type(v_key.atttypid)
    or v_column.atttypmod not in (-1, v_key.atttypmod) then
    raise exception using errcode = 'RM113',
      message = format(
        'column "%s" of %s has another type than the key of %s', v_column.attname, target_key_column.target, target_key_column.source
      ),
      detail = format(
        'It is %s and should be %s.',
        format_type(v_column.atttypid, v_column.atttypmod), format_type(v_key.atttypid, v_key.atttypmod)
      ),
      hint = format(
        'alter table %s alter column %I type %s;',
        target_key_column.target, v_column.attname, format_type(v_key.atttypid, v_key.atttypmod)
      );
  end if;
  if v_column.attgenerated <> '' or v_column.attidentity = 'a' then
    raise exception using errcode = 'RM113',
      message = format('column "%s" of %s is generated by Postgres', v_column.attname, target_key_column.target),
      detail = 'The key of the source is written to it.',
      hint = 'The target needs the key as a plain column, e.g.: '
        || rowmill.target_statement(target_key_column.source, target_key_column.keys);
  end if;
  return v_column.attnum;
end;
$$;
comment on function rowmill.target_key_column is
  'The number of the target''s column that holds a column of the source''s key. Raises RM113 where there is none, or it cannot hold it.';
revoke all on function rowmill.target_key_column from public;

-- API: internal
create or replace function rowmill.target_statement(
  source regclass,
  keys smallint[] -- the columns of its key, in the key's order
)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select format(
    'create table %s (%s, summary text, primary key (%s));',
    (
      select format('%I.%I', n.nspname, c.relname || '_enriched')
      from pg_class as c
      join pg_namespace as n on n.oid = c.relnamespace
      where c.oid = target_statement.source
    ),
    string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by k.place),
    string_agg(quote_ident(a.attname), ', ' order by k.place)
  )
  from unnest(target_statement.keys) with ordinality as k(attnum, place)
  join pg_attribute as a on a.attrelid = target_statement.source and a.attnum = k.attnum;
$$;
comment on function rowmill.target_statement is
  'A statement that makes a target for a source, for hints.';
revoke all on function rowmill.target_statement from public;

-- API: internal
create or replace function rowmill.temporary_parts_of(view regclass)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(distinct pg_describe_object(d.refclassid, d.refobjid, 0), ', ')
  from pg_depend as d
  join pg_rewrite as w on w.oid = d.objid
  join pg_namespace as n on n.oid = pg_my_temp_schema()
  where d.classid = 'pg_rewrite'::regclass
  and w.ev_class = temporary_parts_of.view
  and not (d.refclassid = 'pg_class'::regclass and d.refobjid = temporary_parts_of.view)
  -- Types, functions, tables, operators, collations: anything that is in a schema.
  and (pg_identify_object(d.refclassid, d.refobjid, 0)).schema = quote_ident(n.nspname);
$$;
comment on function rowmill.temporary_parts_of is
  'What of this session''s temporary schema the query of a view depends on, in words; null where nothing is.';
revoke all on function rowmill.temporary_parts_of from public;

-- API: internal
create or replace function rowmill.try_definition(pipeline_id bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_parts rowmill.source_parts := rowmill.source_parts_of(pipeline_id);
begin
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = try_definition.pipeline_id;
  -- The pieces are put together and planned once here, so that what cannot run fails now and not at night.
  begin
    execute format('select %s, %s from (select null::jsonb as key) as k join %s as s on %s order by %s limit 0',
      v_parts.key_value, v_parts.hash, v_parts.relation, v_parts.key_match, v_parts.key_list);
  exception when others then
    raise exception using errcode = 'RM104', message = format('the rows of %s cannot be found by their primary key', v_pipeline.source),
      detail = sqlerrm, hint = 'Use a key of numbers, text, uuid, dates or the like.';
  end;
  begin
    execute format('select from %s as s where %s limit 0', v_parts.relation, v_parts.selected);
  exception when others then
    raise exception using errcode = 'RM102', message = format('the filter is not a condition over %s', v_pipeline.source),
      detail = format('%s: %s', v_pipeline.filter, sqlerrm),
      hint = 'Write it as after WHERE, e.g. ''description is not null''; name columns alone or with their table, without its schema.';
  end;
end;
$$;
comment on function rowmill.try_definition is
  'Plans what a pipeline will run. Raises RM104, RM102.';
revoke all on function rowmill.try_definition from public;

-- API: internal
create or replace function rowmill.value_schema(
  type oid,
  nullable boolean, -- true: the value may be null
  about text -- what it means, for the model; null: nothing is said
)
returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_base oid := rowmill.base_type(value_schema.type);
  v_type record;
  v_kind text;
  v_about text := value_schema.about;
  v_labels json;
  v_items json;
begin
  select t.typtype, t.typcategory, t.typelem into strict v_type
  from pg_type as t
  where t.oid = v_base;

  if v_type.typtype = 'e' then
    v_kind := 'string';
    select json_agg(l.label order by l.place) into strict v_labels
    from (
      select e.enumlabel::text as label, e.enumsortorder as place from pg_enum as e where e.enumtypid = v_base
      union all
      select null, 'infinity' where value_schema.nullable
    ) as l;
  elsif v_type.typcategory = 'A' and v_type.typelem <> 0 then
    -- jsonb inside an array would need the JSON-in-a-string form at a depth that nothing unpacks.
    if rowmill.base_type(v_type.typelem) in ('json'::regtype, 'jsonb'::regtype) then
      return null;
    end if;
    v_kind := 'array';
    v_items := rowmill.value_schema(v_type.typelem, false, null);
    if v_items is null then
      return null;
    end if;
  else
    v_kind := rowmill.json_kind(v_base);
    if v_kind is null then
      return null;
    end if;
    if v_base in ('json'::regtype, 'jsonb'::regtype) then
      v_about := concat_ws(' ', v_about, '(A JSON document, written as a string.)');
    end if;
  end if;

  return json_strip_nulls(json_build_object(
    'type', case when value_schema.nullable then json_build_array(v_kind, 'null') else to_json(v_kind) end,
    'description', v_about,
    'format', rowmill.json_format(v_base),
    'items', v_items,
    -- json_strip_nulls leaves the nulls of arrays alone, and an enum needs its own
    'enum', v_labels
  ));
end;
$$;
comment on function rowmill.value_schema is
  'JSON Schema of one value of a column''s type, as OpenAI''s strict mode takes it; null for a type without a JSON form. '
  'Domains count as their base type.';
revoke all on function rowmill.value_schema from public;

-- API: internal
create or replace function rowmill.version_fields(definition rowmill.pipelines)
returns json
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  -- Neither the tables, which cannot be altered, and whose names may be: a regclass is its name in JSON.
  select json_build_object(
    'source_name', definition.source_name,
    'inputs', definition.inputs,
    'outputs', definition.outputs,
    'filter', definition.filter,
    'filter_columns', definition.filter_columns,
    'filter_uses', definition.filter_uses,
    'instructions', definition.instructions,
    'prompt', definition.prompt,
    'placeholder_style', definition.placeholder_style,
    'model', definition.model,
    'endpoint', definition.endpoint,
    'format', definition.format,
    'params', definition.params,
    'response_schema', definition.response_schema,
    'own_schema', definition.own_schema,
    'provenance', definition.provenance
  );
$$;
comment on function rowmill.version_fields is
  'What makes a version of a pipeline: a change of any of these is a new one.';
revoke all on function rowmill.version_fields from public;

-- API: internal
create or replace function rowmill.watched_columns(definition rowmill.pipelines)
returns smallint[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select array_agg(w.attnum order by w.attnum)
  from (
    select k.attnum from unnest(definition.key_columns) as k(attnum)
    union
    select (i.value ->> 'attnum')::smallint from jsonb_array_elements(definition.inputs || definition.filter_columns) as i
    except
    select (o.value ->> 'attnum')::smallint
    from jsonb_array_elements(definition.outputs || definition.provenance) as o
    where definition.target = definition.source
  ) as w;
$$;
comment on function rowmill.watched_columns is
  'The columns of a source whose edit asks for the row again.';
revoke all on function rowmill.watched_columns from public;

-- API: internal
create or replace function rowmill.can_post()
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (select from rowmill.settings as s where s.endpoint_url is not null)
  and rowmill.has_pg_net()
  and rowmill.has_ingest_secret();
$$;
comment on function rowmill.can_post is
  'Whether an endpoint and a secret are set and pg_net is there to post with.';
revoke all on function rowmill.can_post from public;

-- API: internal
create or replace function rowmill.endpoint_mistake(url text, secret text, out message text, out detail text, out hint text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if endpoint_mistake.url !~ '^https?://[^/\s]+' then
    message := 'the url is not an http or https address';
    detail := format('url is %L.', endpoint_mistake.url);
    hint := 'select rowmill.set_endpoint(''https://worker.example.com'', ''whsec_…'');';
  elsif endpoint_mistake.secret is null and endpoint_mistake.url is not null and not rowmill.has_ingest_secret() then
    message := 'there is no secret yet';
    detail := 'Posts are signed with it.';
    hint := 'Give it as the second argument, the same as the worker''s ROWMILL_INGEST_SECRET.';
  elsif not rowmill.is_secret(endpoint_mistake.secret) then
    message := 'the secret is not of the form whsec_ and base64 of at least 24 bytes';
    detail := format('It has %s characters.', length(endpoint_mistake.secret));
    hint := 'Make one: select ''whsec_'' || '
      'encode(sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, ''UTF8'')), ''base64'');';
  end if;
end;
$$;
comment on function rowmill.endpoint_mistake is
  'What is wrong with what set_endpoint() was given; nulls where nothing is. The secret is in none of it: messages end in logs.';
revoke all on function rowmill.endpoint_mistake from public;

-- API: internal
create or replace function rowmill.has_ingest_secret()
returns boolean
language plpgsql
stable
security definer -- as ingest_secret
set search_path = pg_catalog, pg_temp
as $$
declare
  v_vault text := 'vault';
  v_is_there boolean := false;
begin
  if rowmill.has_vault() then
    -- Reads no secret: one that Vault cannot decrypt any more (a restored backup) must not end the tick.
    execute format('select exists (select from %I.decrypted_secrets as s where s.name = $1)', v_vault)
    into strict v_is_there
    using 'rowmill_ingest_secret';
  end if;
  return v_is_there or exists (select from rowmill.secrets as s where s.name = 'ingest');
end;
$$;
comment on function rowmill.has_ingest_secret is
  'Whether there is a secret that signs posts. It is not read.';
revoke all on function rowmill.has_ingest_secret from public;

-- API: internal
create or replace function rowmill.has_pg_net()
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  -- pg_net lets every role put triggers on its queue, and they run with the rights of the role that posts.
  select rowmill.may_use('net.http_post', array['text', 'jsonb', 'jsonb', 'jsonb', 'integer'])
  and not rowmill.has_untrusted_trigger('net.http_request_queue');
$$;
comment on function rowmill.has_pg_net is
  'Whether pg_net is there, in the form that Rowmill calls it, trusted, and open to the caller.';
revoke all on function rowmill.has_pg_net from public;

-- API: internal
create or replace function rowmill.has_untrusted_trigger(relation text)
returns boolean
language plpgsql -- keeps its plan: every post asks
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select exists (
      select
      from pg_trigger as t
      join pg_class as c on c.oid = t.tgrelid
      join pg_namespace as n on n.oid = c.relnamespace
      join pg_proc as p on p.oid = t.tgfoid
      where n.nspname = split_part(has_untrusted_trigger.relation, '.', 1)
      and c.relname = split_part(has_untrusted_trigger.relation, '.', 2)
      and not rowmill.is_trusted_object('pg_proc', p.oid, p.proowner)
    )
  );
end;
$$;
comment on function rowmill.has_untrusted_trigger is
  'Whether a table of an extension, named schema.name, has a trigger whose function is not trusted (see is_trusted_object).';
revoke all on function rowmill.has_untrusted_trigger from public;

-- API: internal
create or replace function rowmill.has_vault()
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select rowmill.may_use('vault.create_secret', array['text', 'text', 'text', 'uuid'])
  and rowmill.may_use('vault.update_secret', array['uuid', 'text', 'text', 'text', 'uuid'])
  and rowmill.may_read('vault.decrypted_secrets');
$$;
comment on function rowmill.has_vault is
  'Whether Supabase''s Vault is there, trusted, and open to the caller: Rowmill''s owner, that is.';
revoke all on function rowmill.has_vault from public;

-- API: internal
create or replace function rowmill.hmac_sha256(message bytea, key bytea)
returns bytea
language plpgsql
immutable
strict
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key bytea := hmac_sha256.key;
  v_inner bytea := decode(repeat('36', 64), 'hex');
  v_outer bytea := decode(repeat('5c', 64), 'hex');
begin
  if length(v_key) > 64 then
    v_key := sha256(v_key);
  end if;
  for v_at in 0 .. length(v_key) - 1 loop
    v_inner := set_byte(v_inner, v_at, get_byte(v_key, v_at) # 54);
    v_outer := set_byte(v_outer, v_at, get_byte(v_key, v_at) # 92);
  end loop;
  return sha256(v_outer || sha256(v_inner || hmac_sha256.message));
end;
$$;
comment on function rowmill.hmac_sha256 is
   'HMAC-SHA-256 (RFC 2104) from Postgres'' own sha256: pgcrypto has it too, but is not on every server.';
revoke all on function rowmill.hmac_sha256 from public;

-- API: internal
create or replace function rowmill.ingest_secret()
returns text
language plpgsql
stable
security definer -- the posts of a trigger are signed whoever inserts
set search_path = pg_catalog, pg_temp
as $$
declare
  v_vault text := 'vault';
  v_secret text;
begin
  if rowmill.has_vault() then
    execute format('select s.decrypted_secret from %I.decrypted_secrets as s where s.name = $1', v_vault)
    into v_secret
    using 'rowmill_ingest_secret';
  end if;
  return coalesce(v_secret, (select s.value from rowmill.secrets as s where s.name = 'ingest'));
end;
$$;
comment on function rowmill.ingest_secret is
  'The secret that signs posts: "rowmill_ingest_secret" in Supabase''s Vault, else "ingest" in rowmill.secrets; null where neither '
  'is there.';
revoke all on function rowmill.ingest_secret from public;

-- API: internal
create or replace function rowmill.is_secret(secret text)
returns boolean
language plpgsql
immutable
strict
set search_path = pg_catalog, pg_temp
as $$
begin
  return is_secret.secret ~ '^whsec_[A-Za-z0-9+/]+=*$' and length(decode(substr(is_secret.secret, 7), 'base64')) >= 24;
exception when others then
  return false; -- base64 that is none
end;
$$;
comment on function rowmill.is_secret is
  'Whether a text is whsec_ and base64 of at least 24 bytes, as Standard Webhooks has its secrets.';
revoke all on function rowmill.is_secret from public;

-- API: internal
create or replace function rowmill.keep_ingest_secret(secret text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_vault text := 'vault';
  v_id uuid;
begin
  if not rowmill.has_vault() then
    insert into rowmill.secrets (name, value)
    values ('ingest', keep_ingest_secret.secret)
    on conflict (name) do update set value = excluded.value, changed_at = now();
    return;
  end if;
  -- By parameters alone: a constant would stand in pg_stat_statements and in the server's log.
  -- The id alone, of the relation that has_vault() asks for: nothing is decrypted.
  execute format('select s.id from %I.decrypted_secrets as s where s.name = $1', v_vault)
  into v_id
  using 'rowmill_ingest_secret';
  if v_id is null then
    execute format('select %I.create_secret($1, $2, $3)', v_vault)
    using keep_ingest_secret.secret, 'rowmill_ingest_secret', 'Signs what Rowmill posts to its worker; rowmill.set_endpoint() changes it.';
  else
    execute format('select %I.update_secret($1, $2)', v_vault) using v_id, keep_ingest_secret.secret;
  end if;
  delete from rowmill.secrets as s where s.name = 'ingest';
end;
$$;
comment on function rowmill.keep_ingest_secret is
  'Puts the secret into Supabase''s Vault and out of rowmill.secrets; where there is no Vault, into rowmill.secrets, which its '
  'owner alone can read.';
revoke all on function rowmill.keep_ingest_secret from public;

-- API: internal
create or replace function rowmill.may_read(relation text)
returns boolean
language plpgsql -- keeps its plan: every post asks
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- As may_use: to_regclass would raise. A view's functions run with the reader's rights.
  return (
    select exists (
      select
      from pg_class as c
      join pg_namespace as n on n.oid = c.relnamespace
      where n.nspname = split_part(may_read.relation, '.', 1)
      and c.relname = split_part(may_read.relation, '.', 2)
      and has_schema_privilege(n.oid, 'usage')
      and has_table_privilege(c.oid, 'select')
      and rowmill.is_trusted_object('pg_namespace', n.oid, n.nspowner)
      and rowmill.is_trusted_object('pg_class', c.oid, c.relowner)
    )
  );
end;
$$;
comment on function rowmill.may_read is
  'Whether a relation of an extension, named schema.name, is there, open to the caller, and trusted, as is its schema '
  '(see is_trusted_object). Raises nothing.';
revoke all on function rowmill.may_read from public;

-- API: internal
create or replace function rowmill.may_use(routine text, argument_types text[])
returns boolean
language plpgsql -- keeps its plan: every post asks
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Not to_regprocedure: it raises where the schema is there and closed to us. All functions of the name must be trusted:
  -- a call may take another one than this, of fewer parameters for instance.
  return (
    select coalesce(
      bool_or(
        array(
          select format_type(a.type, null) from unnest(p.proargtypes) with ordinality as a(type, place) order by a.place
        ) = may_use.argument_types
        and has_function_privilege(p.oid, 'execute')
      )
      and bool_and(rowmill.is_trusted_object('pg_proc', p.oid, p.proowner)),
      false
    )
    from pg_namespace as n
    join pg_proc as p on p.pronamespace = n.oid
    where n.nspname = split_part(may_use.routine, '.', 1)
    and p.proname = split_part(may_use.routine, '.', 2)
    and has_schema_privilege(n.oid, 'usage')
    and rowmill.is_trusted_object('pg_namespace', n.oid, n.nspowner)
  );
end;
$$;
comment on function rowmill.may_use is
  'Whether a function of an extension, named schema.name with the names of its types, is there, open to the caller, and trusted, '
  'as are its schema and all functions of its name (see is_trusted_object). Raises nothing.';
revoke all on function rowmill.may_use from public;

-- API: internal
create or replace function rowmill.ping_aim()
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select left(encode(rowmill.hmac_sha256(
      convert_to(coalesce(s.endpoint_url, ''), 'UTF8'), decode(substr(rowmill.ingest_secret(), 7), 'base64')
    ), 'hex'), 8)
    from rowmill.settings as s
  );
exception when others then
  return null; -- a secret that cannot be read signs no ping either
end;
$$;
comment on function rowmill.ping_aim is
  'Eight digits that change with the endpoint and with the secret, and tell nothing of it: the start of an HMAC. null where the '
  'secret is none. Raises nothing.';
revoke all on function rowmill.ping_aim from public;

-- API: internal
create or replace function rowmill.post_chunk(
  chunk_id bigint,
  with_rows boolean default true -- false: the worker reads them
)
returns boolean
language plpgsql
security definer -- called from triggers of whoever inserts
set search_path = pg_catalog, pg_temp
as $$
declare
  v_settings rowmill.settings;
  v_chunk rowmill.chunks;
  v_pipeline rowmill.pipelines;
  v_fits boolean := false;
  v_body jsonb;
begin
  if not rowmill.can_post() then
    return false;
  end if;
  select s.* into strict v_settings from rowmill.settings as s;
  select c.* into v_chunk from rowmill.chunks as c where c.id = post_chunk.chunk_id and c.state = 'waiting';
  if not found then
    return false;
  end if;
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = v_chunk.pipeline_id;

  v_body := jsonb_build_object('chunk_id', v_chunk.id, 'pipeline', v_pipeline.name);
  -- A chunk of an older version goes by its number: its worker reads the rows as the version has them that it asks under.
  if v_settings.post_rows and post_chunk.with_rows and v_chunk.version = v_pipeline.version then
    begin
      -- A few rows tell whether all of them make a body that the worker would turn away.
      select v_settings.post_max_bytes > v_chunk.row_count * coalesce(avg(octet_length(r.input::text) + 64), 0) into strict v_fits
      from rowmill.read_chunk(v_chunk.id, 0, 20) as r;
      if v_fits then
        select v_body || jsonb_build_object(
          'rows', coalesce(jsonb_agg(jsonb_build_object('n', r.n, 'hash', r.hash, 'input', r.input)), '[]')
        )
        into strict v_body
        from rowmill.read_chunk(v_chunk.id, 0, v_chunk.row_count) as r;
        -- The few may not have been like the rest.
        if octet_length(v_body::text) > v_settings.post_max_bytes then
          v_body := v_body - 'rows';
        end if;
      end if;
    exception when others then
      -- A row cannot be read: the worker finds out which, and reads the others.
      v_body := v_body - 'rows';
    end;
  end if;

  perform rowmill.post_signed('chunk_' || v_chunk.id, v_body);
  update rowmill.chunks as c
  set posted_at = clock_timestamp(), posts = c.posts + 1
  where c.id = v_chunk.id;
  return true;
end;
$$;
comment on function rowmill.post_chunk is
  'Hands a waiting chunk to pg_net, signed as Standard Webhooks has it; false where nothing can be posted. pg_net sends after the '
  'commit and may lose it: the tick posts again, a worker fetches.';
revoke all on function rowmill.post_chunk from public;

-- API: internal
create or replace function rowmill.post_ping(
  purpose text, -- doctor or ring
  fill_bytes integer default 0 -- makes the body longer by so much
)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id bigint;
  v_body jsonb;
  v_request_id bigint;
begin
  if not rowmill.can_post() then
    return null;
  end if;
  insert into rowmill.pings (purpose, aim)
  values (post_ping.purpose, rowmill.ping_aim())
  returning id into strict v_id;
  v_body := jsonb_build_object('ping', v_id, 'fill', repeat('x', post_ping.fill_bytes));
  v_request_id := rowmill.post_signed('ping_' || v_id, v_body);
  update rowmill.pings as p
  set request_id = v_request_id, bytes = octet_length(v_body::text)
  where p.id = v_id;
  delete from rowmill.pings as p where p.id <= v_id - 100;
  return v_id;
end;
$$;
comment on function rowmill.post_ping is
  'Has pg_net post a ping to the worker once this transaction commits, and returns its number in rowmill.pings; null where nothing '
  'can be posted. Raises where the secret is malformed or cannot be read.';
revoke all on function rowmill.post_ping from public;

-- API: internal
create or replace function rowmill.post_signed(
  message_id text, -- the webhook-id; the worker knows a repeated one by its body, not by this
  body jsonb
)
returns bigint
language plpgsql
security definer -- called from triggers of whoever inserts
set search_path = pg_catalog, pg_temp
as $$
declare
  v_net text := 'net';
  v_settings rowmill.settings;
  v_timestamp text := floor(extract(epoch from clock_timestamp()))::bigint::text;
  v_signature text;
  v_request_id bigint;
begin
  select s.* into strict v_settings from rowmill.settings as s;
  -- The secret signs and stays here: pg_net's tables, headers included, can be read by many.
  v_signature := 'v1,' || encode(rowmill.hmac_sha256(
    convert_to(post_signed.message_id || '.' || v_timestamp || '.' || post_signed.body::text, 'UTF8'),
    decode(substr(rowmill.ingest_secret(), 7), 'base64')
  ), 'base64');
  execute format('select %I.http_post(url => $1, body => $2, headers => $3, timeout_milliseconds => $4)', v_net)
  into strict v_request_id
  using
    v_settings.endpoint_url,
    post_signed.body,
    jsonb_build_object(
      'Content-Type', 'application/json',
      'webhook-id', post_signed.message_id,
      'webhook-timestamp', v_timestamp,
      'webhook-signature', v_signature
    ),
    v_settings.post_timeout_ms;
  return v_request_id;
end;
$$;
comment on function rowmill.post_signed is
  'Gives pg_net a body to post to the endpoint once this transaction commits, signed as Standard Webhooks has it; returns '
  'pg_net''s number for it. For callers that have asked can_post(). A post is made once and may be lost.';
revoke all on function rowmill.post_signed from public;

-- API: internal
create or replace function rowmill.ring_workers()
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_settings rowmill.settings;
  v_last_ring timestamptz;
begin
  select s.* into strict v_settings from rowmill.settings as s;
  select max(p.sent_at) into v_last_ring from rowmill.pings as p where p.purpose = 'ring';
  if v_last_ring > now() - v_settings.repost_after
    or exists (select from rowmill.workers as w where w.seen_at > now() - v_settings.lease)
    or not rowmill.can_post()
  then
    return false;
  end if;
  -- Chunks that nobody accepted are posted, and so ring by themselves; this is what nobody posts.
  if exists (
    select
    from rowmill.batch_processing_details as b
    where b.state = 'running' and b.poll_at <= now()
    or b.state in ('preparing', 'harvested') and (b.lease_until is null or b.lease_until < now())
    or b.sweep_at <= now()
  ) or exists (
    -- Answers for a column that is gone wait for the operator, not for a worker.
    with ended as materialized ( -- asked once for each pipeline
      select distinct b.pipeline_id
      from rowmill.batch_processing_details as b
      where b.state = 'ended' and (b.lease_until is null or b.lease_until < now())
    )
    select from ended as e where rowmill.structure_problem(e.pipeline_id) is null
  ) then
    return rowmill.post_ping('ring') is not null;
  end if;
  -- A chunk waits for room, a budget perhaps, and nobody can say when there is some: a look now and then.
  if exists (
    select
    from rowmill.chunks as c
    join rowmill.pipelines as p on p.id = c.pipeline_id
    where c.state = 'waiting' and c.waits_for is not null and p.state = 'active'
  ) and (v_last_ring is null or v_last_ring < now() - interval '15 minutes') then
    return rowmill.post_ping('ring') is not null;
  end if;
  return false;
end;
$$;
comment on function rowmill.ring_workers is
  'Posts a ping to the endpoint where a batch or a waiting chunk wants a worker and none was seen for settings.lease, at most one '
  'every settings.repost_after (every 15 minutes for chunks that wait for room): what scales to zero is started by it. Returns '
  'whether it rang.';
revoke all on function rowmill.ring_workers from public;

-- API: public
create or replace function rowmill.set_endpoint(
  url text, -- where the worker is reached, e.g. https://worker.example.com; null stops posting
  secret text default null -- whsec_ and base64, the worker's ROWMILL_INGEST_SECRET; null keeps the one that is there
)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_url text := rtrim(set_endpoint.url, '/');
  v_mistake record;
begin
  v_mistake := rowmill.endpoint_mistake(v_url, set_endpoint.secret);
  if v_mistake.message is not null then
    -- An error makes Postgres log the statement, and the secret with it where it was written into the statement.
    if strpos(current_query(), set_endpoint.secret) > 0 then
      raise warning using message = v_mistake.message, detail = v_mistake.detail, hint = v_mistake.hint;
      return format('nothing was set: %s. %s', v_mistake.message, v_mistake.detail);
    end if;
    raise exception using errcode = 'RM109', message = v_mistake.message, detail = v_mistake.detail, hint = v_mistake.hint;
  end if;
  if v_url !~ '^https?://[^/]+/.' then
    v_url := v_url || '/v1/chunks';
  end if;
  if set_endpoint.secret is not null then
    perform rowmill.keep_ingest_secret(set_endpoint.secret);
  end if;
  update rowmill.settings as s set endpoint_url = v_url where s.only_row; -- a condition: see safe-update.test.ts
  return case
    when v_url is null then 'chunks are not posted; workers fetch them'
    when rowmill.can_post() then 'chunks are posted to ' || v_url
    else 'pg_net is not installed: chunks are not posted to ' || v_url || ', workers fetch them'
  end;
end;
$$;
comment on function rowmill.set_endpoint is
  'Where chunks are posted and the secret that signs them, which goes into Supabase''s Vault where there is one; returns what '
  'follows from it. A url without a path gets /v1/chunks. Raises RM109; where the statement itself holds the secret it warns '
  'instead, sets nothing and says so, since Postgres logs statements that fail.';
revoke all on function rowmill.set_endpoint from public;

-- API: internal
create or replace function rowmill.all_keys_sql(pipeline_id bigint, rows_name text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select format(
    'select jsonb_agg(jsonb_build_array(%s)) from %s as s',
    rowmill.key_elements(all_keys_sql.pipeline_id, 's'), all_keys_sql.rows_name
  );
$$;
comment on function rowmill.all_keys_sql is 'The statement that reads the keys of a transition table, or of any rows given as "rows_name".';
revoke all on function rowmill.all_keys_sql from public;

-- API: internal
create or replace function rowmill.applying_mark(pipeline_id bigint)
returns text
language plpgsql -- its plan is kept
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select encode(sha256(convert_to(concat_ws(' ', i.applying_secret, pg_current_xact_id(), applying_mark.pipeline_id), 'UTF8')), 'hex')
    from rowmill.installation as i
  );
end;
$$;
comment on function rowmill.applying_mark is
  'What the parameter rowmill.applying holds while answers of a pipeline are written in this transaction. Every session may set the '
  'parameter; only Rowmill''s owner can say this, since it is made with a secret that nobody else reads.';
revoke all on function rowmill.applying_mark from public;

-- API: internal
create or replace function rowmill.attach_insert_triggers(pipeline_id bigint)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table regclass;
  v_made integer := 0;
begin
  -- Rows inserted straight into a partition fire its own statement triggers, not its parent's.
  for v_table in
    select t.relation
    from rowmill.pipelines as p
    cross join lateral (select p.source union select t.relid from pg_partition_tree(p.source) as t) as t(relation)
    where p.id = attach_insert_triggers.pipeline_id
    and not exists (select from pg_trigger as g where g.tgrelid = t.relation and g.tgname = format('rowmill_%s_insert', p.id))
  loop
    execute format(
      $sql$
      create trigger rowmill_%1$s_insert after insert on %2$s
      referencing new table as new_rows for each statement execute function rowmill.enqueue_inserted_%1$s()
      $sql$,
      attach_insert_triggers.pipeline_id, v_table
    );
    v_made := v_made + 1;
  end loop;
  return v_made;
end;
$$;
comment on function rowmill.attach_insert_triggers is
  'Puts the trigger that queues inserted rows on a pipeline''s table and on each partition that lacks it; returns how many it made.';
revoke all on function rowmill.attach_insert_triggers from public;

-- API: internal
create or replace function rowmill.attach_move_trigger(pipeline_id bigint)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_keys text;
  v_moved text;
begin
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = attach_move_trigger.pipeline_id;
  -- An update that moves a row into another partition fires no AFTER UPDATE trigger for it, and it changes the
  -- key, of which the partition's columns are a part.
  if not exists (select from pg_class as c where c.oid = v_pipeline.source and c.relkind = 'p') or exists (
    select from pg_trigger as t where t.tgrelid = v_pipeline.source and t.tgname = format('rowmill_%s_move', v_pipeline.id)
  ) then
    return 0;
  end if;
  -- Generated columns have no value yet before an update, and partition no table.
  select string_agg(format('%I', a.attname), ', '), string_agg(format('old.%1$I is distinct from new.%1$I', a.attname), ' or ')
  into strict v_keys, v_moved
  from pg_attribute as a
  where a.attrelid = v_pipeline.source and a.attnum = any (v_pipeline.key_columns) and a.attgenerated = '';
  execute format(
    $sql$
    create trigger rowmill_%1$s_move before update %2$s on %3$s
    for each row when (%4$s) execute function rowmill.enqueue_edited_%1$s()
    $sql$,
    v_pipeline.id, 'of ' || v_keys, v_pipeline.source, v_moved
  );
  return 1;
end;
$$;
comment on function rowmill.attach_move_trigger is
  'Puts the trigger that queues rows which move to another partition on a partitioned table that lacks it; returns how many it made.';
revoke all on function rowmill.attach_move_trigger from public;

-- API: internal
create or replace function rowmill.attach_triggers(
  pipeline_id bigint,
  anew boolean default false -- true: other columns are watched than before
)
returns integer
language sql
set search_path = pg_catalog, pg_temp
as $$
  select
    rowmill.attach_insert_triggers(attach_triggers.pipeline_id)
    + rowmill.attach_update_trigger(attach_triggers.pipeline_id, attach_triggers.anew)
    + rowmill.attach_move_trigger(attach_triggers.pipeline_id);
$$;
comment on function rowmill.attach_triggers is
  'Puts a pipeline''s triggers on its table and on every partition that lacks them; returns how many it made. Harmless to repeat.';
revoke all on function rowmill.attach_triggers from public;

-- API: internal
create or replace function rowmill.attach_update_trigger(
  pipeline_id bigint,
  anew boolean -- true: other columns are watched than before
)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_watched text;
  v_changed text;
begin
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = attach_update_trigger.pipeline_id;
  select
    string_agg(format('%I', a.attname), ', ' order by a.attnum),
    -- Compared as text: that is what the prompt sees, and json has no "=".
    string_agg(
      format('old.%1$I::pg_catalog.text is distinct from new.%1$I::pg_catalog.text', a.attname), ' or ' order by a.attnum
    )
  into strict v_watched, v_changed
  from pg_attribute as a
  where a.attrelid = v_pipeline.source and a.attnum = any (rowmill.watched_columns(v_pipeline));
  -- Then every update is looked at.
  if rowmill.has_before_triggers(v_pipeline.source) then
    v_watched := null;
  end if;

  -- Row triggers are handed down to partitions by Postgres.
  if not attach_update_trigger.anew and exists (
    select
    from pg_trigger as t
    where t.tgrelid = v_pipeline.source and t.tgname = format('rowmill_%s_update', v_pipeline.id)
    and (v_watched is not null or t.tgattr::text = '')
  ) then
    return 0;
  end if;
  execute format(
    $sql$
    create or replace trigger rowmill_%1$s_update after update %2$s on %3$s
    for each row when (%4$s) execute function rowmill.enqueue_edited_%1$s()
    $sql$,
    v_pipeline.id, 'of ' || v_watched, v_pipeline.source, v_changed
  );
  return 1;
end;
$$;
comment on function rowmill.attach_update_trigger is
  'Puts the trigger that queues edited rows on a pipeline''s table where it is missing or watches too little; returns how many it made.';
revoke all on function rowmill.attach_update_trigger from public;

-- API: public
create or replace function rowmill.backfill(
  pipeline text,
  only_missing boolean default false -- true: only rows whose outputs are all null and that are nowhere in work
)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
begin
  insert into rowmill.backfills as b (pipeline_id, only_missing, lost_keys)
  values (v_pipeline.id, backfill.only_missing, rowmill.lost_keys(v_pipeline.id))
  on conflict (pipeline_id) do update
  set
    only_missing = excluded.only_missing, lost_keys = excluded.lost_keys, version_below = null, after_key = null,
    rows_queued = 0, started_at = clock_timestamp(), finished_at = null;
  return format('backfill of %s begun; select * from rowmill.pipeline_status shows how far it is', v_pipeline.name);
end;
$$;
comment on function rowmill.backfill is
  'Queues the rows that are in the table already; the tick does so in slices of 10,000, and goes on after a crash. Every row that '
  'is queued is paid for; only_missing queues just those whose outputs are all null and that are not in flight, waiting or failed. '
  'A second call begins anew. Raises RM111.';
revoke all on function rowmill.backfill from public;

-- API: internal
create or replace function rowmill.backfill_slice(pipeline_id bigint, max_rows integer)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- keys, as in the triggers
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
  v_backfill rowmill.backfills;
  v_rows integer;
  v_queued integer;
  v_last jsonb;
begin
  select b.* into v_backfill
  from rowmill.backfills as b
  where b.pipeline_id = backfill_slice.pipeline_id and b.finished_at is null
  for update skip locked;
  if not found then
    return 0;
  end if;
  execute rowmill.backfill_sql(v_backfill)
  into strict v_rows, v_queued, v_last
  using v_backfill.after_key, backfill_slice.max_rows, v_backfill.only_missing, backfill_slice.pipeline_id;

  update rowmill.backfills as b
  set
    after_key = coalesce(v_last, b.after_key),
    rows_queued = b.rows_queued + v_queued,
    finished_at = case when v_rows < backfill_slice.max_rows then clock_timestamp() end
  where b.pipeline_id = backfill_slice.pipeline_id;
  if v_rows < backfill_slice.max_rows then
    perform rowmill.forget_lost_keys(v_backfill);
  end if;
  return v_queued;
end;
$$;
comment on function rowmill.backfill_slice is
  'Takes an open backfill forward by up to max_rows of the table, in the order of its key; returns how many rows it queued. A crash '
  'repeats at most the slice in hand.';
revoke all on function rowmill.backfill_slice from public;

-- API: internal
create or replace function rowmill.backfill_sql(backfill rowmill.backfills)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts rowmill.source_parts := rowmill.source_parts_of(backfill.pipeline_id);
  v_wanted text;
  v_after text;
begin
  v_wanted := case
    when backfill.only_missing then v_parts.missing
    when backfill.version_below is not null then format(
      '(%s) or coalesce(%s(select v.version from rowmill.row_versions as v where v.pipeline_id = $4 '
      'and md5(v.key::text) = md5((%s)::text)), 1) < %s',
      v_parts.missing, v_parts.version_at || ', ', v_parts.key_value, backfill.version_below
    )
    else 'true'
  end;
  select format(
    '(%s) > (%s)', v_parts.key_list,
    string_agg(format('($1 ->> %s)::%s', k.place - 1, format_type(a.atttypid, a.atttypmod)), ', ' order by k.place)
  )
  into strict v_after
  from rowmill.pipelines as p
  cross join lateral unnest(p.key_columns) with ordinality as k(attnum, place)
  join pg_attribute as a on a.attrelid = p.source and a.attnum = k.attnum
  where p.id = backfill.pipeline_id;

  -- The slice is counted before it is thinned out: the position moves on over rows that need nothing.
  return format(
    $sql$
    with slice as (
      select %1$s as key, %2$s as wanted, row_number() over (order by %3$s) as place
      from %4$s as s
      where %5$s
      order by %3$s
      limit $2
    ), wanted as (
      select w.key, w.place
      from slice as w
      where w.wanted
      and not ($3 and exists (
        select from rowmill.failures as f where f.pipeline_id = $4 and md5(f.key::text) = md5(w.key::text) and f.is_final
      ))
      and not ($3 and exists (
        select from rowmill.chunk_rows as r where r.pipeline_id = $4 and md5(r.key::text) = md5(w.key::text)
      ))
    ), queued as (
      insert into rowmill.pending_keys (pipeline_id, keys, row_count, only_missing)
      select $4, jsonb_agg(w.key order by w.place), count(*), $3
      from (select w.*, (row_number() over (order by w.place) - 1) / 1000 as entry from wanted as w) as w
      group by w.entry
      returning row_count
    )
    select
      (select count(*) from slice),
      (select coalesce(sum(q.row_count), 0) from queued as q),
      (select w.key from slice as w order by w.place desc limit 1)
    $sql$,
    v_parts.key_value, v_wanted, v_parts.key_list, v_parts.relation, case when backfill.after_key is null then 'true' else v_after end
  );
end;
$$;
comment on function rowmill.backfill_sql is
  'The statement that queues the next slice of a backfill. $1 the key that it stands at, $2 rows, $3 only_missing, $4 pipeline. It '
  'returns how many rows it saw and queued, and the last key. Raises RM201.';
revoke all on function rowmill.backfill_sql from public;

-- API: internal
create or replace function rowmill.detach_triggers(pipeline_id bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Cascade takes the triggers along, on whatever tables they are.
  execute format('drop function if exists rowmill.enqueue_inserted_%s() cascade', detach_triggers.pipeline_id);
  execute format('drop function if exists rowmill.enqueue_edited_%s() cascade', detach_triggers.pipeline_id);
  execute format('drop sequence if exists rowmill.lost_keys_%s', detach_triggers.pipeline_id);
end;
$$;
comment on function rowmill.detach_triggers is 'Drops a pipeline''s triggers and what was made for them.';
revoke all on function rowmill.detach_triggers from public;

-- API: internal
create or replace function rowmill.edit_trigger_body(pipeline_id bigint)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select format(
    $body$
    declare
      v_keys jsonb;
    begin
      -- An answer that is written must not ask again, where a BEFORE trigger changes an input with it (updated_at).
      -- What the user's triggers edit besides stands deeper, and is queued.
      if current_setting('rowmill.applying', true) <> '' and pg_trigger_depth() = 1 then
        if current_setting('rowmill.applying') = rowmill.applying_mark(%1$s) then
          return new;
        end if;
      end if;
      insert into rowmill.pending_keys (pipeline_id, keys, row_count)
      values (%1$s, jsonb_build_array(jsonb_build_array(%2$s)), 1);
      return new; -- it stands before an update too, where null would undo it
    exception when others then
      begin
        if sqlstate = '55P03' then
          raise; -- it would wait once more
        end if;
        execute rowmill.enqueue_sql(%1$s, '(select ($1).*)') using new;
      exception when others then
        %3$s
      end;
      return new;
    end;
    $body$,
    p.id,
    rowmill.key_elements(p.id, 'new'),
    rowmill.trigger_fault_sql(p.id, 'edit', '(select ($1).*)', ' using new')
  )
  from rowmill.pipelines as p
  where p.id = edit_trigger_body.pipeline_id;
$$;
comment on function rowmill.edit_trigger_body is
  'The body of the trigger function that queues the key of an edited row. It raises nothing.';
revoke all on function rowmill.edit_trigger_body from public;

-- API: internal
create or replace function rowmill.enqueue_sql(
  pipeline_id bigint,
  rows_name text,
  may_repeat boolean default true -- false: the rows were inserted just now
)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select format(
    $sql$with queued as (
          insert into rowmill.pending_keys (pipeline_id, keys, row_count, may_repeat)
          select %1$s, jsonb_agg(k.key), count(*), %4$L::boolean
          from (select jsonb_build_array(%2$s) as key, (row_number() over () - 1) / 1000 as slice from %3$s as s) as k
          group by k.slice
          order by k.slice
          returning id, row_count
        )
        select max(queued.id), sum(queued.row_count) from queued$sql$,
    enqueue_sql.pipeline_id, rowmill.key_elements(enqueue_sql.pipeline_id, 's'), enqueue_sql.rows_name, enqueue_sql.may_repeat
  );
$$;
comment on function rowmill.enqueue_sql is
  'The statement that notes the keys of a transition table, or of any rows given as "rows_name", in slices of 1,000; it returns '
  'the last entry''s id and the number of rows.';
revoke all on function rowmill.enqueue_sql from public;

-- API: internal
create or replace function rowmill.forget_lost_keys(
  backfill rowmill.backfills -- one that is through
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if backfill.version_below is not null then
    return; -- it leaves out rows
  end if;
  -- What triggers lost before it began has been looked at now: inserted rows have no output; an edited one has its old one, and
  -- only a backfill of all rows sends it.
  delete from rowmill.trigger_errors as e
  where e.pipeline_id = backfill.pipeline_id and e.keys is null and e.happened_at < backfill.started_at
  and (e.what = 'insert' or e.what = 'edit' and not backfill.only_missing);
  if not backfill.only_missing then
    update rowmill.pipelines as p
    set lost_keys_found = greatest(p.lost_keys_found, backfill.lost_keys)
    where p.id = backfill.pipeline_id and p.lost_keys_found < backfill.lost_keys;
  end if;
end;
$$;
comment on function rowmill.forget_lost_keys is 'Clears the errors of triggers whose rows a finished backfill has queued.';
revoke all on function rowmill.forget_lost_keys from public;

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

-- API: internal
create or replace function rowmill.insert_trigger_body(pipeline_id bigint)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select format(
    $body$
    declare
      v_id bigint;
      v_rows bigint;
      v_keys jsonb;
    begin
      begin
        select count(*) into v_rows from new_rows;
        if v_rows between 1 and 1000 then
          insert into rowmill.pending_keys (pipeline_id, keys, row_count, may_repeat)
          select %1$s, %2$s, v_rows, false from new_rows as s
          returning id into v_id;
        else
          %3$s into v_id, v_rows;
        end if;
      exception when others then
        begin
          if sqlstate = '55P03' then
            raise; -- it would wait once more
          end if;
          -- A column was renamed since this text was written: write it again, this once.
          execute rowmill.enqueue_sql(%1$s, 'new_rows', false) into v_id, v_rows;
        exception when others then
          %5$s
        end;
      end;
      -- v_rows is smaller in the second half, so that it divides by at least 1
      if v_rows >= %4$s or v_id %% (%4$s / v_rows) = 0 then
        begin
          perform rowmill.form_chunk_on_insert(%1$s);
        exception when others then
          -- It raises nothing itself, but it may be gone, or its owner's rights. The keys stand.
          raise warning 'rowmill: pipeline %1$s: %%', sqlerrm;
        end;
      end if;
      return null;
    end;
    $body$,
    p.id,
    rowmill.keys_sql(p.id),
    rowmill.enqueue_sql(p.id, 'new_rows', false),
    -- Forming is tried about sixteen times for each chunk's worth of rows: a look at the queue for each single-row statement
    -- would cost more than the insert.
    greatest(1, p.chunk_size / 16),
    rowmill.trigger_fault_sql(p.id, 'insert', 'new_rows', '')
  )
  from rowmill.pipelines as p
  where p.id = insert_trigger_body.pipeline_id;
$$;
comment on function rowmill.insert_trigger_body is
  'The body of the trigger function that queues the keys of inserted rows. It raises nothing.';
revoke all on function rowmill.insert_trigger_body from public;

-- API: internal
create or replace function rowmill.key_element(rows_name text, column_name name, type oid)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select format(
    -- jsonb_build_array would use a cast to json that the type's owner made, within the trigger of everybody who inserts. (Types
    -- that Postgres brings along have numbers below 16384.)
    case when rowmill.base_type(key_element.type) < 16384 then '%1$I.%2$I' else 'pg_catalog.format(''%%s'', %1$I.%2$I)' end,
    key_element.rows_name, key_element.column_name
  );
$$;
comment on function rowmill.key_element is 'The expression that gives a column of a key as its JSON has it: a number, a boolean or a text.';
revoke all on function rowmill.key_element from public;

-- API: internal
create or replace function rowmill.key_elements(pipeline_id bigint, rows_name text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(rowmill.key_element(key_elements.rows_name, a.attname, a.atttypid), ', ' order by k.place)
  from rowmill.pipelines as p
  cross join lateral unnest(p.key_columns) with ordinality as k(attnum, place)
  join pg_attribute as a on a.attrelid = p.source and a.attnum = k.attnum
  where p.id = key_elements.pipeline_id;
$$;
comment on function rowmill.key_elements is
  'The expressions of a pipeline''s key, in the order of its columns and with commas between them, of rows that go by "rows_name".';
revoke all on function rowmill.key_elements from public;

-- API: internal
create or replace function rowmill.key_settings(pipeline_id bigint)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  -- These types' JSON depends on settings of the session; a key must not.
  select case
    when bool_or(t.typtype in ('r', 'm') or t.oid in (
      'timestamptz'::regtype, 'timetz'::regtype, 'bytea'::regtype, 'real'::regtype, 'double precision'::regtype, 'interval'::regtype
    ))
      then 'set timezone = ''UTC'' set datestyle = ''ISO, YMD'' set bytea_output = ''hex'' set extra_float_digits = 1 '
        || 'set intervalstyle = ''postgres'''
    else ''
  end
  from rowmill.pipelines as p
  cross join lateral unnest(p.key_columns) as k(attnum)
  join pg_attribute as a on a.attrelid = p.source and a.attnum = k.attnum
  join pg_type as t on t.oid = rowmill.base_type(a.atttypid)
  where p.id = key_settings.pipeline_id;
$$;
comment on function rowmill.key_settings is 'The settings that a pipeline''s trigger functions pin, as text of "create function".';
revoke all on function rowmill.key_settings from public;

-- API: internal
create or replace function rowmill.keys_sql(pipeline_id bigint)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    -- Numbers and uuids need no escaping: a third of the time that building JSON value by value takes.
    when count(*) = 1 and bool_and(a.atttypid in ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype))
      then format($sql$('[[' || string_agg(s.%I::text, '],[') || ']]')::jsonb$sql$, min(a.attname))
    when count(*) = 1 and bool_and(a.atttypid = 'uuid'::regtype)
      then format($sql$('[["' || string_agg(s.%I::text, '"],["') || '"]]')::jsonb$sql$, min(a.attname))
    else format('jsonb_agg(jsonb_build_array(%s))', rowmill.key_elements(keys_sql.pipeline_id, 's'))
  end
  from rowmill.pipelines as p
  cross join lateral unnest(p.key_columns) with ordinality as k(attnum, place)
  join pg_attribute as a on a.attrelid = p.source and a.attnum = k.attnum
  where p.id = keys_sql.pipeline_id;
$$;
comment on function rowmill.keys_sql is 'The aggregate that makes one entry''s keys of the rows s.';
revoke all on function rowmill.keys_sql from public;

-- API: internal
create or replace function rowmill.lost_keys(pipeline_id bigint)
returns bigint
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(pg_sequence_last_value(to_regclass(format('rowmill.lost_keys_%s', lost_keys.pipeline_id))), 0);
$$;
comment on function rowmill.lost_keys is
  'How often a trigger of a pipeline could write down neither keys nor an error, since the pipeline was created. Each may be any '
  'row; a transaction that was rolled back counts as well.';
revoke all on function rowmill.lost_keys from public;

-- API: internal
create or replace function rowmill.lost_keys_problem(
  pipeline rowmill.pipelines,
  out problem text,
  out remedy text -- a statement
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_error record;
begin
  if rowmill.lost_keys(pipeline.id) > pipeline.lost_keys_found then
    problem := format(
      'rows of "%s" could not be queued, and nothing says which: edited ones may have their old answers still', pipeline.name
    );
    remedy := format('select rowmill.backfill(%L); -- sends all rows, and each is paid for', pipeline.name);
    return;
  end if;
  select e.what, e.sqlstate, e.message, date_trunc('second', e.happened_at) as happened_at into v_error
  from rowmill.trigger_errors as e
  where e.pipeline_id = pipeline.id and e.keys is null and e.what <> 'chunk'
  order by e.what = 'edit' desc, e.happened_at desc
  limit 1;
  if found then
    problem := format('rows of "%s" could not be queued, last at %s: %s (%s)',
      pipeline.name, v_error.happened_at, v_error.message, v_error.sqlstate);
    remedy := case v_error.what
      when 'insert' then format('select rowmill.backfill(%L, only_missing => true);', pipeline.name)
      else format('select rowmill.backfill(%L); -- sends all rows, and each is paid for: edited ones have old answers', pipeline.name)
    end;
  end if;
end;
$$;
comment on function rowmill.lost_keys_problem is
  'What a pipeline''s triggers could not queue, where the tick cannot queue it either, and which backfill finds it; nulls where '
  'there is nothing.';
revoke all on function rowmill.lost_keys_problem from public;

-- API: internal
create or replace function rowmill.note_trigger_error(
  pipeline_id bigint,
  what text, -- 'insert', 'edit' or 'chunk', as trigger_errors has it
  sqlstate text,
  message text,
  keys jsonb default null -- those that could not be queued: a JSON array of JSON arrays
)
returns void
language plpgsql
security definer -- called from triggers of those who insert
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into rowmill.trigger_errors (pipeline_id, what, sqlstate, message, keys)
  select
    note_trigger_error.pipeline_id, note_trigger_error.what, note_trigger_error.sqlstate, left(note_trigger_error.message, 2000), k.keys
  from (
    -- in entries of 1,000, as pending_keys has them
    select jsonb_agg(e.key order by e.place) as keys
    from jsonb_array_elements(note_trigger_error.keys) with ordinality as e(key, place)
    group by (e.place - 1) / 1000
    union all
    select null where note_trigger_error.keys is null
  ) as k;
exception when others then
  if note_trigger_error.what <> 'chunk' then
    -- Nobody can lock a sequence, and a rollback leaves it as it is. Its number says that a key was lost, and not which.
    perform nextval(format('rowmill.lost_keys_%s', note_trigger_error.pipeline_id)::regclass);
  end if;
  -- Nowhere left to write it down; a warning still reaches the client and the server's log.
  raise warning 'rowmill: pipeline %: % (%)',
    note_trigger_error.pipeline_id, note_trigger_error.message, note_trigger_error.sqlstate;
end;
$$;
comment on function rowmill.note_trigger_error is
  'Writes down what went wrong in a trigger, with the keys that could not be queued: the tick queues them. Where it cannot be '
  'written either, the sequence lost_keys_<pipeline> counts it. Raises where even that fails.';
revoke all on function rowmill.note_trigger_error from public;

-- API: internal
create or replace function rowmill.oldest_unread(pipeline_id bigint)
returns bigint
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select least(
    (
      select min(coalesce(k.first_entry, k.id))
      from rowmill.pending_keys as k
      where k.pipeline_id = oldest_unread.pipeline_id
    ),
    (
      select min(c.oldest_entry)
      from rowmill.chunks as c
      where c.pipeline_id = oldest_unread.pipeline_id and c.state in ('waiting', 'accepted')
    ),
    (
      -- It may be given up yet, and its chunks be read anew.
      select min(c.oldest_entry)
      from rowmill.batch_processing_details as b
      join rowmill.chunks as c on c.batch_id = b.id
      where b.pipeline_id = oldest_unread.pipeline_id and b.state = 'preparing'
    )
  );
$$;
comment on function rowmill.oldest_unread is
  'The lowest number in the queue of a pipeline whose rows are not read yet, or may be read again; null where there is none.';
revoke all on function rowmill.oldest_unread from public;

-- API: internal
create or replace function rowmill.position_to_remember(pipeline_id bigint, chunk_ids bigint[])
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (select from rowmill.chunks as c where c.id = any (position_to_remember.chunk_ids) and c.may_repeat) then
    if rowmill.has_unread(position_to_remember.pipeline_id) then
      return pg_sequence_last_value('rowmill.pending_keys_id_seq');
    end if;
  elsif rowmill.has_unread_that_may_repeat(position_to_remember.pipeline_id) then
    -- Two of which neither may repeat the other are two rows.
    return pg_sequence_last_value('rowmill.pending_keys_id_seq');
  end if;
  return null;
end;
$$;
comment on function rowmill.position_to_remember is
  'Where the queue stands, if the answers of these chunks are to be remembered because something unread may ask for them again; '
  'else null.';
revoke all on function rowmill.position_to_remember from public;

-- API: internal
create or replace function rowmill.queue_kept_keys(pipeline_id bigint)
returns integer
language sql
set search_path = pg_catalog, pg_temp
as $$
  with taken as (
    delete from rowmill.trigger_errors as e
    where e.pipeline_id = queue_kept_keys.pipeline_id and e.keys is not null
    returning e.keys
  ), queued as (
    insert into rowmill.pending_keys (pipeline_id, keys, row_count)
    select queue_kept_keys.pipeline_id, t.keys, jsonb_array_length(t.keys) from taken as t
    returning row_count
  )
  select coalesce(sum(q.row_count), 0)::integer from queued as q;
$$;
comment on function rowmill.queue_kept_keys is
  'Queues the keys that triggers could not queue and kept in trigger_errors; returns how many. A rollback gives them back.';
revoke all on function rowmill.queue_kept_keys from public;

-- API: public
create or replace function rowmill.re_enrich(
  pipeline text,
  where_version_below integer default null -- null: the current version
)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_below integer := coalesce(where_version_below, v_pipeline.version);
begin
  if v_below not between 2 and v_pipeline.version then
    raise exception using errcode = 'RM109',
      message = format('no version of "%s" is below %s and not the one that holds', v_pipeline.name, v_below),
      detail = format('Version %s holds; the first is 1.', v_pipeline.version),
      hint = case when v_pipeline.version = 1
        then format('Its definition is still the first; rowmill.backfill(%L) sends every row again.', v_pipeline.name)
        else format('Give 2 to %s, or nothing.', v_pipeline.version)
      end;
  end if;
  insert into rowmill.backfills as b (pipeline_id, only_missing, version_below)
  values (v_pipeline.id, false, v_below)
  on conflict (pipeline_id) do update
  set
    only_missing = false, version_below = excluded.version_below, after_key = null, rows_queued = 0,
    started_at = clock_timestamp(), finished_at = null;
  return format(
    'rows of %s that were enriched before version %s are being queued; select * from rowmill.pipeline_status shows how far it is',
    v_pipeline.name, v_below
  );
end;
$$;
comment on function rowmill.re_enrich is
  'Queues the rows that were enriched under older versions than the given one, and those whose outputs are all null, to be '
  'enriched under the one that holds; a row that is under way under it is not sent twice. Every row that is queued is paid for. '
  'The tick does so in slices, as a backfill, of which there is one at a time: a second call of either begins anew. Raises RM109, '
  'RM111.';
revoke all on function rowmill.re_enrich from public;

-- API: public
create or replace function rowmill.retry_failed(
  pipeline text,
  error_class text default null -- null: whatever it was
)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_rows bigint;
begin
  with forgotten as (
    delete from rowmill.failures as f
    where f.pipeline_id = v_pipeline.id and f.is_final
    and (retry_failed.error_class is null or f.error_class = retry_failed.error_class)
    returning f.key
  ), queued as (
    insert into rowmill.pending_keys (pipeline_id, keys, row_count)
    select v_pipeline.id, jsonb_agg(q.key), count(*)
    from (select f.key, (row_number() over () - 1) / 1000 as slice from forgotten as f) as q
    group by q.slice
    returning row_count
  )
  select coalesce(sum(q.row_count), 0) into strict v_rows from queued as q;
  if v_rows = 0 and retry_failed.error_class is not null and not exists (
    select from rowmill.failures as f where f.pipeline_id = v_pipeline.id and f.error_class = retry_failed.error_class
  ) and exists (select from rowmill.failures as f where f.pipeline_id = v_pipeline.id and f.is_final) then
    raise exception using errcode = 'RM109', message = format('no row of "%s" failed with %s', v_pipeline.name, retry_failed.error_class),
      detail = (
        select format('Its failures are: %s.', string_agg(c.part, ', ' order by c.part))
        from (
          select format('%s (%s)', f.error_class, count(*)) as part
          from rowmill.failures as f
          where f.pipeline_id = v_pipeline.id and f.is_final
          group by f.error_class
        ) as c
      ),
      hint = 'select error_class, count(*) from rowmill.row_failures group by 1;';
  end if;
  return v_rows;
end;
$$;
comment on function rowmill.retry_failed is
  'Queues the rows that stand in row_failures, all or those of one class, with all their attempts anew; returns how many. They are '
  'paid for again. Raises RM111, RM109 (no such failures, while there are others).';
revoke all on function rowmill.retry_failed from public;

-- API: internal
create or replace function rowmill.trigger_fault_sql(
  pipeline_id bigint,
  what text, -- 'insert' or 'edit'
  rows_name text, -- as all_keys_sql takes it
  parameters text -- ' using …', or nothing
)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select format(
    $body$
          begin
            execute rowmill.all_keys_sql(%1$s, %3$L) into v_keys%4$s;
          exception when others then
            v_keys := null;
          end;
          begin
            perform rowmill.note_trigger_error(%1$s, %2$L, sqlstate, sqlerrm, v_keys);
          exception when others then
            raise warning 'rowmill: pipeline %1$s: %%', sqlerrm;
          end;
    $body$,
    trigger_fault_sql.pipeline_id, trigger_fault_sql.what, trigger_fault_sql.rows_name, trigger_fault_sql.parameters
  );
$$;
comment on function rowmill.trigger_fault_sql is
  'What a trigger function does with keys that it could not queue, in an exception handler: it notes the error, with the keys where '
  'they can be read. It raises nothing. The function declares v_keys.';
revoke all on function rowmill.trigger_fault_sql from public;

-- API: internal
create or replace function rowmill.trigger_names_of(pipeline_id bigint)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(quote_ident(rowmill.column_name(p.source, k.attnum)), ', ' order by k.place)
  from rowmill.pipelines as p
  cross join lateral unnest(p.key_columns) with ordinality as k(attnum, place)
  where p.id = trigger_names_of.pipeline_id;
$$;
comment on function rowmill.trigger_names_of is
  'The column names that a pipeline''s trigger functions contain, as they are today.';
revoke all on function rowmill.trigger_names_of from public;

-- API: internal
create or replace function rowmill.trigger_problem(pipeline_id bigint)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_missing text;
  v_lost record;
begin
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = trigger_problem.pipeline_id;
  select string_agg(w.name, ', ' order by w.name) into v_missing
  from (values (format('rowmill_%s_insert', v_pipeline.id)), (format('rowmill_%s_update', v_pipeline.id))) as w(name)
  where not exists (
    select from pg_trigger as t where t.tgrelid = v_pipeline.source and t.tgname = w.name and t.tgenabled <> 'D'
  );
  if v_missing is not null then
    return format(
      'trigger %s on %s is missing or disabled, so that rows are not queued; enable it, or drop_pipeline(%L) and create it again',
      v_missing, v_pipeline.source, v_pipeline.name
    );
  end if;

  v_lost := rowmill.lost_keys_problem(v_pipeline);
  return v_lost.problem || '; remove the cause, then: ' || v_lost.remedy;
end;
$$;
comment on function rowmill.trigger_problem is
  'Why rows of a pipeline are not queued, or were not, and what to do, in words; null where nothing is wrong with its triggers.';
revoke all on function rowmill.trigger_problem from public;

-- API: internal
create or replace function rowmill.triggers_are_behind(pipeline_id bigint)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select
    from rowmill.pipelines as p
    join pg_class as c on c.oid = p.source
    where p.id = triggers_are_behind.pipeline_id
    and (
      c.relkind = 'p' and exists (
        select
        from pg_partition_tree(p.source) as t
        where not exists (select from pg_trigger as g where g.tgrelid = t.relid and g.tgname = format('rowmill_%s_insert', p.id))
      )
      or exists (
        select from pg_trigger as g
        where g.tgrelid = p.source and g.tgname = format('rowmill_%s_update', p.id) and g.tgattr::text <> ''
      ) and rowmill.has_before_triggers(p.source)
    )
  );
$$;
comment on function rowmill.triggers_are_behind is
  'Whether a partition or a BEFORE trigger came since a pipeline''s triggers were made.';
revoke all on function rowmill.triggers_are_behind from public;

-- API: internal
create or replace function rowmill.write_trigger_functions(pipeline_id bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner name := rowmill.owner_name();
  v_function record;
begin
  for v_function in
    select f.name, f.body, f.about
    from (values
      ('inserted', rowmill.insert_trigger_body(write_trigger_functions.pipeline_id), 'Queues the keys of inserted rows.'),
      ('edited', rowmill.edit_trigger_body(write_trigger_functions.pipeline_id), 'Queues the key of an edited row.')
    ) as f(name, body, about)
  loop
    -- The bodies are quoted as literals: no name of a column can end them, as it could end a dollar quote.
    execute format(
      $sql$
      create or replace function rowmill.enqueue_%1$s_%2$s()
      returns trigger
      language plpgsql
      security definer -- who inserts or updates has no rights here
      set search_path = pg_catalog, pg_temp set lock_timeout = '200ms' %3$s
      as %4$L
      $sql$,
      v_function.name, write_trigger_functions.pipeline_id, rowmill.key_settings(write_trigger_functions.pipeline_id), v_function.body
    );
    execute format('revoke all on function rowmill.enqueue_%s_%s() from public', v_function.name, write_trigger_functions.pipeline_id);
    execute format(
      'comment on function rowmill.enqueue_%s_%s() is %L',
      v_function.name, write_trigger_functions.pipeline_id, v_function.about || ' Written by rowmill.write_trigger_functions.'
    );
    if v_owner <> current_user then
      -- A superuser who declares a pipeline lends it no rights of his.
      execute format('alter function rowmill.enqueue_%s_%s() owner to %I', v_function.name, write_trigger_functions.pipeline_id, v_owner);
    end if;
  end loop;
  -- Its number is all that is left where neither a key nor an error could be written; see note_trigger_error.
  execute format('create sequence if not exists rowmill.lost_keys_%s', write_trigger_functions.pipeline_id);
  if v_owner <> current_user then
    execute format('alter sequence rowmill.lost_keys_%s owner to %I', write_trigger_functions.pipeline_id, v_owner);
  end if;

  update rowmill.pipelines as p
  set trigger_names = rowmill.trigger_names_of(p.id)
  where p.id = write_trigger_functions.pipeline_id;
end;
$$;
comment on function rowmill.write_trigger_functions is
  'Writes (or rewrites, after a rename) the two trigger functions of a pipeline, with static SQL: dynamic SQL would be planned at '
  'every statement.';
revoke all on function rowmill.write_trigger_functions from public;

-- API: internal
create or replace function rowmill.add_slices(one jsonb, other jsonb)
returns jsonb
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_object_agg(k.key, case jsonb_typeof(k.value)
    when 'array' then k.value || (add_slices.other -> k.key)
    else to_jsonb(k.value::integer + (add_slices.other -> k.key)::integer)
  end)
  from jsonb_each(add_slices.one) as k(key, value);
$$;
comment on function rowmill.add_slices is 'The result of write_slice for two parts of a slice: numbers added, lists joined.';
revoke all on function rowmill.add_slices from public;

-- API: worker
create or replace function rowmill.apply_results(
  batch_id bigint,
  worker text,
  file text, -- 'output' or 'error'
  from_position bigint, -- bytes of the file that were applied before this slice
  to_position bigint, -- and after it
  answers jsonb, -- [{"c": chunk, "n", "h": hash, "o0": value, …}], o<i> for the i-th output; no row twice
  failures jsonb, -- [{"c", "n", "h", "class", "code", "message", "retried", "counted"}]; no row twice
  unknown_lines integer, -- lines whose custom_id is not of this batch
  repeated_lines integer, -- lines of a row that this slice holds already
  input_tokens numeric, -- what the lines say, however absurd
  cached_tokens numeric,
  output_tokens numeric,
  billed_requests integer -- lines that told their usage
)
returns jsonb
language plpgsql
security definer -- the worker has no rights on the source table
set search_path = pg_catalog, pg_temp
-- Shorter than deadlock_timeout (1 s): where a slice and a user's statement wait for each other, the slice gives
-- way before Postgres looks for a victim, and is applied later.
set lock_timeout = '500ms'
-- The hash of an input must be the one that read_chunk made.
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
  v_batch rowmill.batch_processing_details;
  v_counts jsonb;
begin
  select b.* into v_batch
  from rowmill.batch_processing_details as b
  where b.id = apply_results.batch_id and b.state = 'ended' and b.owner = apply_results.worker
  and case apply_results.file when 'output' then b.output_position when 'error' then b.error_position end = apply_results.from_position
  for update;
  if not found then
    return null;
  end if;

  v_counts := rowmill.apply_slice(v_batch, apply_results.answers, apply_results.failures);
  v_counts := v_counts || jsonb_build_object(
    'duplicate', (v_counts ->> 'duplicate')::integer + apply_results.repeated_lines,
    'unknown', (v_counts ->> 'unknown')::integer + apply_results.unknown_lines
  );

  update rowmill.batch_processing_details as b
  set
    output_position = case apply_results.file when 'output' then apply_results.to_position else b.output_position end,
    error_position = case apply_results.file when 'error' then apply_results.to_position else b.error_position end,
    rows_enriched = b.rows_enriched + (v_counts ->> 'enriched')::integer,
    rows_stale = b.rows_stale + (v_counts ->> 'stale')::integer,
    rows_gone = b.rows_gone + (v_counts ->> 'gone')::integer,
    rows_failed = b.rows_failed + (v_counts ->> 'failed')::integer,
    lines_duplicate = b.lines_duplicate + (v_counts ->> 'duplicate')::bigint,
    lines_unknown = b.lines_unknown + (v_counts ->> 'unknown')::bigint,
    input_tokens = rowmill.clamped(b.input_tokens + coalesce(rowmill.clamped(apply_results.input_tokens), 0)),
    cached_tokens = rowmill.clamped(b.cached_tokens + coalesce(rowmill.clamped(apply_results.cached_tokens), 0)),
    output_tokens = rowmill.clamped(b.output_tokens + coalesce(rowmill.clamped(apply_results.output_tokens), 0)),
    billed_requests = b.billed_requests + apply_results.billed_requests,
    problem = null,
    gone_since = null,
    tries = 0
  where b.id = v_batch.id;
  return v_counts;
end;
$$;
comment on function rowmill.apply_results is
  'One slice of a result file: answers, failures, tokens and the position reached, in one transaction; rows that share a request '
  'share its outcome. null, and nothing changed, where the batch is not under this lease or the slice was applied before. Raises '
  'what is no row''s fault; the slice can then be tried again.';
revoke all on function rowmill.apply_results from public;

-- API: internal
create or replace function rowmill.apply_slice(
  batch rowmill.batch_processing_details, -- locked
  answers jsonb, -- as apply_results takes them
  failures jsonb
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_chunk_ids bigint[];
  v_answers jsonb := answers;
  v_failures jsonb := failures;
  v_counts jsonb := '{"enriched": 0, "stale": 0, "gone": 0, "failed": 0}'::jsonb;
  v_failed integer := 0;
  v_unsettled integer;
  v_unknown integer := 0;
begin
  select array_agg(c.id) into v_chunk_ids from rowmill.chunks as c where c.batch_id = batch.id;
  if batch.has_twins then
    v_answers := rowmill.with_twins(v_answers, v_chunk_ids);
    v_failures := rowmill.with_twins(v_failures, v_chunk_ids);
  end if;

  if jsonb_array_length(v_answers) > 0 then
    -- Not as a "set" of the function, which only a superuser may give a parameter of this kind.
    perform set_config('rowmill.applying', rowmill.applying_mark(batch.pipeline_id), true);
    v_counts := rowmill.write_answers(
      batch, v_chunk_ids, v_answers,
      exists (select from rowmill.failures as f where f.pipeline_id = batch.pipeline_id),
      rowmill.position_to_remember(batch.pipeline_id, v_chunk_ids)
    );
    perform set_config('rowmill.applying', '', true);
  end if;
  if jsonb_array_length(v_failures) > 0 then
    v_failed := rowmill.settle_failures(batch.pipeline_id, batch.id, (
      select coalesce(jsonb_agg(f.value), '[]')
      from jsonb_array_elements(v_failures) as f(value)
      where (f.value ->> 'c')::bigint = any (v_chunk_ids)
    ));
  end if;

  v_counts := v_counts || jsonb_build_object('failed', (v_counts ->> 'failed')::integer + v_failed);
  v_unsettled := jsonb_array_length(v_answers) + jsonb_array_length(v_failures)
    - (select sum(c.value::integer) from jsonb_each_text(v_counts) as c);
  if v_unsettled > 0 then
    v_unknown := rowmill.count_strangers(batch.id, v_answers || v_failures);
  end if;
  return v_counts || jsonb_build_object('duplicate', v_unsettled - v_unknown, 'unknown', v_unknown);
end;
$$;
comment on function rowmill.apply_slice is
  'Writes the answers and settles the failures of one slice; returns how many rows and lines: {"enriched", "stale", "gone", '
  '"failed", "duplicate", "unknown"}. A repeated line changes nothing and is a duplicate.';
revoke all on function rowmill.apply_slice from public;

-- API: worker
create or replace function rowmill.claim_ended_batches(
  worker text,
  max_batches integer,
  again boolean default null -- false: batches that give no trouble; true: the others; null: all
)
returns table (
  batch_id bigint, state text, pipeline_id bigint, provider_status text, provider_errors jsonb,
  input_file_id text, output_file_id text, error_file_id text, output_position bigint, error_position bigint, keep_files boolean,
  pipeline_version integer, tries integer, requests integer, rows_enriched integer, strange_lines bigint
)
language sql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
  -- Once for each pipeline, however many of its batches have ended.
  with ended as materialized (
    select distinct b.pipeline_id from rowmill.batch_processing_details as b where b.state = 'ended'
  ), readable as materialized (
    -- Answers for a column that is gone wait for the operator; where a whole table is gone, or a newer version does
    -- without the column, nobody waits.
    select e.pipeline_id
    from ended as e
    join rowmill.pipelines as p on p.id = e.pipeline_id
    where rowmill.structure_problem(e.pipeline_id) is null
    or not exists (select from pg_class as c where c.oid = p.source)
    or not exists (select from pg_class as c where c.oid = p.target)
  ), troubled as materialized (
    -- One bad batch is no reason to distrust its neighbours; several are, and so is one that ended almost without answers:
    -- its files may have been large, and in vain.
    select b.pipeline_id
    from rowmill.batch_processing_details as b
    where b.state in ('ended', 'harvested') and b.tries > 0
    group by b.pipeline_id
    having count(*) >= 3
    union
    select p.id from rowmill.pipelines as p where p.failed_in_row > 0
  ), in_hand as materialized (
    select b.pipeline_id, count(*) as batches
    from rowmill.batch_processing_details as b
    where b.state in ('ended', 'harvested') and b.lease_until >= now() and b.owner is not null
    group by b.pipeline_id
  ), found as (
    select b.id
    from rowmill.batch_processing_details as b
    where b.state in ('ended', 'harvested')
    and (b.lease_until is null or b.lease_until < now())
    and (b.state = 'harvested' or b.pipeline_id in (select r.pipeline_id from readable as r))
    and (
      claim_ended_batches.again is null
      or claim_ended_batches.again = (b.tries > 0 or b.pipeline_id in (select t.pipeline_id from troubled as t))
    )
    -- Pipelines take turns, and so do batches that were tried.
    order by
      coalesce((select h.batches from in_hand as h where h.pipeline_id = b.pipeline_id), 0), b.lease_until nulls first, b.ended_at
    limit claim_ended_batches.max_batches
    for update of b skip locked
  )
  update rowmill.batch_processing_details as b
  set owner = claim_ended_batches.worker, lease_until = now() + s.lease
  from found, rowmill.settings as s
  where b.id = found.id
  returning b.id, b.state, b.pipeline_id, b.provider_status, b.provider_errors,
    b.input_file_id, b.output_file_id, b.error_file_id, b.output_position, b.error_position, s.keep_files, b.pipeline_version, b.tries,
    b.requests, b.rows_enriched, b.lines_unknown + b.lines_duplicate;
$$;
comment on function rowmill.claim_ended_batches is
  'Takes, under a lease, batches whose results are to be read (ended) or whose files are to be deleted (harvested). '
  'Those that failed before, those of a pipeline of which several did, and those of one whose last batch brought almost no answers '
  'are taken apart from the others, so that they hold up none of them.';
revoke all on function rowmill.claim_ended_batches from public;

-- API: internal
create or replace function rowmill.count_failures(
  batch_id bigint,
  by_class jsonb -- {"class": rows}
)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  update rowmill.batch_processing_details as b
  set failed_by_class = (
    select jsonb_object_agg(s.class, s.rows)
    from (
      select e.key as class, sum(e.value::integer) as rows
      from (select * from jsonb_each_text(b.failed_by_class) union all select * from jsonb_each_text(count_failures.by_class)) as e
      group by e.key
    ) as s
  )
  where b.id = count_failures.batch_id;
$$;
comment on function rowmill.count_failures is 'Adds failed rows to the counts of their batch.';
revoke all on function rowmill.count_failures from public;

-- API: internal
create or replace function rowmill.count_strangers(
  batch_id bigint,
  outcomes jsonb -- [{"c": chunk, "n", …}]
)
returns integer
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select count(*)::integer
  from jsonb_to_recordset(count_strangers.outcomes) as r(c bigint, n bigint)
  where not exists (
    select
    from rowmill.chunks as c
    where c.id = r.c and c.batch_id = count_strangers.batch_id and r.n >= 0 and r.n < c.row_count
  );
$$;
comment on function rowmill.count_strangers is
  'How many outcomes name a chunk of another batch, or a place that their chunk has not. What else settles nothing came before.';
revoke all on function rowmill.count_strangers from public;

-- API: internal
create or replace function rowmill.edited_failures(
  pipeline_id bigint,
  batch_id bigint,
  failures jsonb -- [{"c": chunk, "n", "h": hash, …}]
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_version integer := (select b.pipeline_version from rowmill.batch_processing_details as b where b.id = edited_failures.batch_id);
  v_parts rowmill.source_parts;
  v_edited jsonb;
begin
  if rowmill.structure_problem(edited_failures.pipeline_id, v_version) is not null then
    return '[]'::jsonb;
  end if;
  v_parts := rowmill.source_parts_of(edited_failures.pipeline_id, v_version);
  execute format(
    $sql$
    select coalesce(jsonb_agg(jsonb_build_object('key', k.key, 'hash', k.hash)), '[]')
    from jsonb_to_recordset($1) as f(c bigint, n bigint, h text)
    join rowmill.chunk_rows as k on k.chunk_id = f.c and k.n = f.n and k.hash = f.h and k.pipeline_id = $2
    join %1$s as s on %2$s
    where %3$s <> k.hash or exists (
      select
      from rowmill.row_versions as v
      where v.pipeline_id = $2 and md5(v.key::text) = md5(k.key::text) and v.version > $3
    )
    $sql$,
    v_parts.relation, v_parts.key_match, v_parts.hash
  )
  into strict v_edited
  using edited_failures.failures, edited_failures.pipeline_id, v_version;
  return v_edited;
end;
$$;
comment on function rowmill.edited_failures is
  'Those of the rows that did not fail: edited meanwhile, so that the edit is queued or answered already, or answered by a newer '
  'version. They go the way of a stale answer, and it costs them no attempt. [{"key", "hash"}]';
revoke all on function rowmill.edited_failures from public;

-- API: internal
create or replace function rowmill.fail_answer(
  batch rowmill.batch_processing_details,
  answer jsonb, -- {"c": chunk, "n", "h": hash, …}
  sqlstate text,
  message text -- what Postgres said
)
returns integer
language sql
set search_path = pg_catalog, pg_temp
as $$
  select rowmill.settle_failures((fail_answer.batch).pipeline_id, (fail_answer.batch).id, jsonb_build_array(jsonb_build_object(
    'c', fail_answer.answer -> 'c', 'n', fail_answer.answer -> 'n', 'h', fail_answer.answer -> 'h',
    'class', 'type_mismatch', 'code', fail_answer.sqlstate, 'message', 'Postgres refused the answer: ' || fail_answer.message,
    'retried', true, 'counted', true
  )));
$$;
comment on function rowmill.fail_answer is
  'Settles the row of an answer that Postgres refused as failed; returns 1, or 0 where it is not in flight.';
revoke all on function rowmill.fail_answer from public;

-- API: internal
create or replace function rowmill.fault_of(sqlstate text)
returns text
language sql
immutable
strict
parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select case
    when left(fault_of.sqlstate, 2) in ('08', '25', '40', '53', '55', '57', '58', 'XX') then 'system'
    when left(fault_of.sqlstate, 2) in ('0A', '42') then 'statement'
    else 'row'
  end;
$$;
comment on function rowmill.fault_of is
  'What an error of a write speaks of, by its SQLSTATE. "system": connection, transaction state, deadlock, resources, locks, an '
  'operator, the system; the same write may succeed later. "statement": rights, missing objects, features; mostly every row has '
  'it. "row": data, limits such as the size of an index entry, constraints, whatever a trigger raises under a code of its own.';
revoke all on function rowmill.fault_of from public;

-- API: internal
create or replace function rowmill.fills_inputs_of(filling rowmill.pipelines, reading rowmill.pipelines)
returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select filling.target = reading.source and exists (
    select
    from jsonb_array_elements(filling.outputs || filling.provenance) as o
    join jsonb_array_elements(reading.inputs || reading.filter_columns) as i on i.value -> 'attnum' = o.value -> 'attnum'
  );
$$;
comment on function rowmill.fills_inputs_of is 'Whether a definition writes into a column that the other reads.';
revoke all on function rowmill.fills_inputs_of from public;

-- API: worker
create or replace function rowmill.finish_batch(batch_id bigint, worker text)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
begin
  update rowmill.batch_processing_details as b
  set state = 'done', done_at = now(), owner = null, lease_until = null, problem = null
  where b.id = finish_batch.batch_id and b.state = 'harvested' and b.owner = finish_batch.worker;
  return found;
end;
$$;
comment on function rowmill.finish_batch is
  'harvested -> done: its files at the provider are deleted, or kept on purpose.';
revoke all on function rowmill.finish_batch from public;

-- API: worker
create or replace function rowmill.finish_harvest(
  batch_id bigint,
  worker text,
  -- what a row is that neither file mentions
  error_class text,
  code text,
  message text,
  retried boolean,
  counted boolean,
  noted boolean,
  delay_seconds integer default null,
  found_no_room boolean default false -- the provider's queue for the model was full
)
returns integer
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_batch rowmill.batch_processing_details;
  v_rest integer;
begin
  select b.* into v_batch
  from rowmill.batch_processing_details as b
  where b.id = finish_harvest.batch_id and b.state = 'ended' and b.owner = finish_harvest.worker
  for update;
  if not found then
    return null;
  end if;
  -- The files are deleted next: results that a crash took back could not be read again.
  perform rowmill.commit_durably();
  v_rest := rowmill.settle_rest(finish_harvest.batch_id, finish_harvest.error_class, finish_harvest.code, finish_harvest.message,
    finish_harvest.retried, finish_harvest.counted, finish_harvest.noted, finish_harvest.delay_seconds);
  -- begin_batch, too, has the pipeline first and its spending second; abandon_batch has the model last.
  if not finish_harvest.found_no_room then
    perform rowmill.judge_batch(finish_harvest.batch_id);
  end if;
  perform rowmill.settle_money(finish_harvest.batch_id);
  update rowmill.batch_processing_details as b
  set state = 'harvested', tries = 0, rows_failed = b.rows_failed + v_rest
  where b.id = finish_harvest.batch_id;
  if finish_harvest.found_no_room then
    perform rowmill.note_full_queue(v_batch.model, v_batch.reserved_tokens);
  elsif v_batch.provider_status = 'completed' then
    perform rowmill.note_room_in_queue(v_batch.model, v_batch.reserved_tokens);
  end if;
  return v_rest;
end;
$$;
comment on function rowmill.finish_harvest is
  'ended -> harvested: both files are applied to their ends, the money is settled, the batch is judged; returns how many rows the '
  'files did not mention. null: not under this lease.';
revoke all on function rowmill.finish_harvest from public;

-- API: internal
create or replace function rowmill.forget_failures(pipeline_id bigint, max_failures integer)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
-- The hash of an input must be the one that read_chunk made.
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
  v_pipeline rowmill.pipelines;
  v_parts rowmill.source_parts := rowmill.source_parts_of(pipeline_id);
  v_keys jsonb;
  v_last text;
  v_looked_at integer;
  v_forgotten integer;
begin
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = forget_failures.pipeline_id;
  -- A thousand at a time, round and round, in the order of the index.
  select jsonb_agg(f.key), max(f.digest), count(*) into strict v_keys, v_last, v_looked_at
  from (
    select f.key, md5(f.key::text) as digest
    from rowmill.failures as f
    where f.pipeline_id = v_pipeline.id and md5(f.key::text) > v_pipeline.failures_checked_to
    order by md5(f.key::text)
    limit forget_failures.max_failures
  ) as f;
  v_forgotten := 0;
  if v_looked_at > 0 then
    execute format(
      $sql$
      with known as (
        select e.value as key from jsonb_array_elements($1) as e(value)
      ), same as (
        select k.key, %3$s as hash from known as k join %1$s as s on %2$s
      ), forgotten as (
        select f.ctid
        from rowmill.failures as f
        join known as k on md5(k.key::text) = md5(f.key::text)
        left join same as m on m.key = k.key
        where f.pipeline_id = $2
        -- A row that failed under an older version is none that was edited: its hash is another one anyway.
        and (m.key is null or m.hash is distinct from f.hash and $3 = coalesce(
          (select b.pipeline_version from rowmill.batch_processing_details as b where b.id = f.batch_id), 1
        ))
        order by md5(f.key::text)
        for update of f skip locked
      )
      delete from rowmill.failures as f using forgotten as g where f.ctid = g.ctid
      $sql$,
      v_parts.relation, v_parts.key_match, v_parts.hash
    )
    using v_keys, v_pipeline.id, v_pipeline.version;
    get diagnostics v_forgotten = row_count;
  end if;
  update rowmill.pipelines as p
  set failures_checked_to = case when v_looked_at < forget_failures.max_failures then '' else v_last end
  where p.id = v_pipeline.id
  and p.failures_checked_to <> case when v_looked_at < forget_failures.max_failures then '' else v_last end;
  return v_forgotten;
end;
$$;
comment on function rowmill.forget_failures is
  'Looks at some failures of a pipeline, further each time, and forgets those whose row is gone or was edited since; returns how '
  'many. The edit itself is queued by its trigger.';
revoke all on function rowmill.forget_failures from public;

-- API: internal
create or replace function rowmill.let_go_of_rows(
  chunk_ids bigint[],
  answers jsonb -- [{"c": chunk, "n", …}]
)
returns bigint
language sql
set search_path = pg_catalog, pg_temp
as $$
  with taken as (
    delete from rowmill.chunk_rows as t
    using jsonb_to_recordset(let_go_of_rows.answers) as r(c bigint, n bigint)
    where t.chunk_id = any (let_go_of_rows.chunk_ids) and t.chunk_id = r.c and t.n = r.n
    returning t.n
  )
  select count(*) from taken;
$$;
comment on function rowmill.let_go_of_rows is 'Settles rows in flight whose table is gone; returns how many.';
revoke all on function rowmill.let_go_of_rows from public;

-- API: internal
create or replace function rowmill.lock_row_versions(
  pipeline_id bigint,
  chunk_ids bigint[],
  answers jsonb -- [{"c": chunk, "n", "h": hash, …}]
)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  -- Before the rows of the table, which an answer of another version may be about to write, and all at once, since a slice may
  -- be written in halves. The entries that are missing come as what their absence means.
  insert into rowmill.row_versions as v (pipeline_id, key, version)
  select lock_row_versions.pipeline_id, h.key, 1
  from (
    select distinct on (md5(t.key::text)) t.key
    from (
      select t.key
      from rowmill.chunk_rows as t
      join jsonb_to_recordset(lock_row_versions.answers) as r(c bigint, n bigint, h text)
        on t.chunk_id = r.c and t.n = r.n and t.hash = r.h
      where t.chunk_id = any (lock_row_versions.chunk_ids)
      order by md5(t.key::text)
      for update of t
    ) as t
    order by md5(t.key::text)
  ) as h
  on conflict (pipeline_id, md5(key::text)) do update set version = v.version where false;
$$;
comment on function rowmill.lock_row_versions is
  'Locks what row_versions says of the rows of these answers, in one order for all sessions, until the transaction ends.';
revoke all on function rowmill.lock_row_versions from public;

-- API: internal
create or replace function rowmill.note_failures(
  pipeline_id bigint,
  batch_id bigint,
  failed jsonb -- [{"key", "hash", "class", "code", "message", "retried", "counted", "noted", "delay_seconds"}]; no key twice
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_max_attempts integer;
begin
  select p.max_attempts into strict v_max_attempts from rowmill.pipelines as p where p.id = note_failures.pipeline_id;
  with failed as (
    select f.*
    from jsonb_to_recordset(note_failures.failed)
      as f(key jsonb, hash text, class text, code text, message text, retried boolean, counted boolean, noted boolean,
        delay_seconds numeric)
  ), noted as (
    insert into rowmill.failures as f (pipeline_id, key, hash, error_class, code, message, attempts, truncations, is_final, batch_id)
    select
      note_failures.pipeline_id, t.key, t.hash, t.class, t.code, t.message,
      t.counted::integer, (t.class = 'truncated')::integer,
      not t.retried or t.counted::integer >= v_max_attempts, note_failures.batch_id
    from failed as t
    where t.noted
    order by md5(t.key::text) -- one order for all sessions: no deadlock
    on conflict (pipeline_id, md5(key::text)) do update
    set
      hash = excluded.hash,
      error_class = excluded.error_class,
      code = excluded.code,
      message = excluded.message,
      attempts = excluded.attempts + case when f.hash = excluded.hash then f.attempts else 0 end,
      truncations = excluded.truncations + case when f.hash = excluded.hash then f.truncations else 0 end,
      is_final = excluded.is_final
        or excluded.attempts + case when f.hash = excluded.hash then f.attempts else 0 end >= v_max_attempts,
      batch_id = excluded.batch_id,
      last_at = now()
    returning f.key, f.is_final, f.attempts
  )
  insert into rowmill.pending_keys (pipeline_id, keys, row_count, queued_at)
  select note_failures.pipeline_id, jsonb_agg(q.key), count(*), now() + q.delay
  from (
    select d.key, d.delay, (row_number() over (partition by d.delay) - 1) / 1000 as slice
    from (
      select t.key, case
        -- (least passes over nulls)
        when t.delay_seconds is not null then least(rowmill.clamped(t.delay_seconds, 86400) * interval '1 second', s.retry_after * 4)
        -- doubled for each attempt, an hour at most; at once where it was no attempt
        when t.counted then least(s.retry_after * power(2, least(n.attempts - 1, 30)), interval '1 hour')
        else '0'::interval
      end as delay
      from failed as t
      left join noted as n on n.key = t.key
      cross join rowmill.settings as s
      where n.is_final is not true
    ) as d
  ) as q
  group by q.delay, q.slice;
end;
$$;
comment on function rowmill.note_failures is
  'Counts the attempts of rows that failed, and queues those again that have some left, each after its delay.';
revoke all on function rowmill.note_failures from public;

-- API: worker
create or replace function rowmill.note_gone_file(batch_id bigint, worker text)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_since timestamptz;
begin
  update rowmill.batch_processing_details as b
  set gone_since = coalesce(b.gone_since, now())
  where b.id = note_gone_file.batch_id and b.state = 'ended' and b.owner = note_gone_file.worker
  returning b.gone_since into v_since;
  return coalesce(v_since <= now() - interval '1 hour', false);
end;
$$;
comment on function rowmill.note_gone_file is
  'The provider says that it knows no such result file. true where it has said so for an hour: the file is given up, and rows that '
  'it held count as missing.';
revoke all on function rowmill.note_gone_file from public;

-- API: internal
create or replace function rowmill.queue_stale(
  pipeline_id bigint,
  parts rowmill.source_parts,
  unwritten jsonb -- [{"key", …}]
)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_stale integer;
begin
  -- Edited meanwhile (its trigger queued it) or deleted. One that was never enriched is queued once more,
  -- in case its trigger could not; the queue sends it only if its outputs are empty still.
  execute format(
    $sql$
    with stale as (
      select k.key from jsonb_to_recordset($1) as k(key jsonb) join %1$s as s on %2$s
    ), queued as (
      insert into rowmill.pending_keys (pipeline_id, keys, row_count, only_missing)
      select $2, jsonb_agg(stale.key), count(*), true from stale having count(*) > 0
    )
    select count(*) from stale
    $sql$,
    parts.relation, parts.key_match
  )
  into strict v_stale
  using queue_stale.unwritten, queue_stale.pipeline_id;
  return v_stale;
end;
$$;
comment on function rowmill.queue_stale is
  'Of rows whose answers were not written, how many are there and so were edited meanwhile; the others are gone.';
revoke all on function rowmill.queue_stale from public;

-- API: internal
create or replace function rowmill.queue_unfailed(
  pipeline_id bigint,
  edited jsonb, -- [{"key", …}], as edited_failures has them
  failed jsonb -- [{"key", …}]
)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  insert into rowmill.pending_keys (pipeline_id, keys, row_count, only_missing)
  select queue_unfailed.pipeline_id, jsonb_agg(d.key), count(*), true
  from (
    select e.key, (row_number() over () - 1) / 1000 as slice
    from (
      select e.value -> 'key' as key from jsonb_array_elements(queue_unfailed.edited) as e
      except
      select f.value -> 'key' from jsonb_array_elements(queue_unfailed.failed) as f
    ) as e
  ) as d
  group by d.slice;
$$;
comment on function rowmill.queue_unfailed is
  'Queues rows once more that were edited before they could fail; they are sent only if their outputs are empty still.';
revoke all on function rowmill.queue_unfailed from public;

-- API: internal
create or replace function rowmill.refuse_older_answers(
  batch rowmill.batch_processing_details,
  chunk_ids bigint[],
  answers jsonb -- [{"c": chunk, "n", "h": hash, …}]
)
returns integer
language sql
set search_path = pg_catalog, pg_temp
as $$
  with refused as (
    delete from rowmill.chunk_rows as t
    using jsonb_to_recordset(refuse_older_answers.answers) as r(c bigint, n bigint, h text), rowmill.row_versions as v
    where t.chunk_id = any (refuse_older_answers.chunk_ids) and t.chunk_id = r.c and t.n = r.n and t.hash = r.h
    and v.pipeline_id = (refuse_older_answers.batch).pipeline_id and md5(v.key::text) = md5(t.key::text)
    and v.version > (refuse_older_answers.batch).pipeline_version
    returning t.n
  )
  select count(*)::integer from refused;
$$;
comment on function rowmill.refuse_older_answers is
  'Settles the rows of a batch that a newer version than the batch''s has answered meanwhile; returns how many.';
revoke all on function rowmill.refuse_older_answers from public;

-- API: internal
create or replace function rowmill.return_rows(
  pipeline_id bigint,
  chunk_ids bigint[],
  answers jsonb -- [{"c": chunk, "n", "h": hash, …}]
)
returns bigint
language sql
set search_path = pg_catalog, pg_temp
as $$
  with taken as (
    delete from rowmill.chunk_rows as t
    using jsonb_to_recordset(return_rows.answers) as r(c bigint, n bigint, h text)
    where t.chunk_id = any (return_rows.chunk_ids) and t.chunk_id = r.c and t.n = r.n and t.hash = r.h
    returning t.key
  ), queued as (
    insert into rowmill.pending_keys (pipeline_id, keys, row_count, only_missing)
    select return_rows.pipeline_id, jsonb_agg(t.key), count(*), true from taken as t having count(*) > 0
  )
  select count(*) from taken;
$$;
comment on function rowmill.return_rows is
  'Queues rows in flight again whose answers cannot be written, to be sent where their outputs are empty still; returns how many.';
revoke all on function rowmill.return_rows from public;

-- API: internal
create or replace function rowmill.run_slice(
  batch rowmill.batch_processing_details,
  chunk_ids bigint[],
  parts rowmill.source_parts,
  answers jsonb, -- [{"c": chunk, "n", "h": hash, "o0": value, …}]
  statement text, -- of slice_sql
  out taken integer,
  out written integer,
  out unwritten jsonb -- [{"key", "hash"}] of those that were taken and not written; null: none
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_put integer;
  v_is_kept boolean;
begin
  -- The table's own triggers and checks run inside this statement, and may name things as any session of Rowmill's owner does.
  perform set_config('search_path', rowmill.owner_path(), true);
  execute run_slice.statement into strict taken, written, v_put, unwritten
  using run_slice.answers, run_slice.chunk_ids, batch.id, batch.model, batch.ended_at, batch.pipeline_version;
  perform set_config('search_path', 'pg_catalog, pg_temp', true);

  if parts.target is not null then
    v_is_kept := v_put <> written;
  elsif unwritten is not null then
    execute format(
      'select exists (select from jsonb_to_recordset($1) as k(key jsonb, hash text) join %1$s as s on %2$s where %3$s = k.hash)',
      parts.relation, parts.key_match, parts.hash
    )
    into strict v_is_kept
    using unwritten;
  end if;
  if v_is_kept then
    -- Taken for stale, it would be asked for, and paid for, again and again.
    raise exception 'a trigger of the table kept the row as it was';
  end if;
end;
$$;
comment on function rowmill.run_slice is
  'Runs the statement of slice_sql once. Raises what Postgres, the table''s triggers or its checks raise, and where a trigger kept '
  'a row from being written; the caller then undoes it.';
revoke all on function rowmill.run_slice from public;

-- API: internal
create or replace function rowmill.settle_failures(
  pipeline_id bigint,
  batch_id bigint,
  -- [{"c": chunk, "n", "h": hash, "class", "code", "message", "retried", "counted", "noted", "delay_seconds"}]; the last two
  -- may be missing. "noted": false goes round again without a word: it says nothing about the row.
  failures jsonb
)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
-- The hash of an input must be the one that read_chunk made.
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
  v_edited jsonb := rowmill.edited_failures(pipeline_id, batch_id, failures);
  v_taken jsonb;
  v_by_class jsonb;
  v_settled integer;
begin
  with taken as (
    delete from rowmill.chunk_rows as t
    using jsonb_to_recordset(settle_failures.failures)
      as f(c bigint, n bigint, h text, class text, code text, message text, retried boolean, counted boolean, noted boolean,
        delay_seconds numeric)
    where t.chunk_id = f.c and t.n = f.n and t.hash = f.h and t.pipeline_id = settle_failures.pipeline_id
    returning t.chunk_id, t.key, t.hash, f.class, f.code, left(f.message, 2000) as message, f.retried, f.counted,
      coalesce(f.noted, true) as noted, f.delay_seconds
  )
  select
    count(*),
    (
      select jsonb_object_agg(c.class, c.rows)
      from (select t.class, count(*) as rows from taken as t where t.noted group by t.class) as c
    ),
    -- A row that was edited meanwhile may be in the batch twice; its latest input counts.
    (
      select coalesce(jsonb_agg(l), '[]')
      from (
        select distinct on (t.key) t.*
        from taken as t
        where not exists (select from jsonb_to_recordset(v_edited) as e(key jsonb, hash text) where e.key = t.key and e.hash = t.hash)
        order by t.key, t.chunk_id desc
      ) as l
    )
  into strict v_settled, v_by_class, v_taken
  from taken;

  perform rowmill.note_failures(settle_failures.pipeline_id, settle_failures.batch_id, v_taken);
  perform rowmill.queue_unfailed(settle_failures.pipeline_id, v_edited, v_taken);
  if v_by_class is not null and settle_failures.batch_id is not null then
    perform rowmill.count_failures(settle_failures.batch_id, v_by_class);
  end if;
  if v_by_class ? 'quota_exhausted' then
    perform rowmill.stop_pipeline(settle_failures.pipeline_id,
      'quota_exhausted: the account has no money or quota left, and more tries would only fail.');
  end if;
  return v_settled;
end;
$$;
comment on function rowmill.settle_failures is
  'Rows in flight that failed: queued again where their class is retried and attempts are left, else named in row_failures. Counts '
  'an attempt where it was one. A row that was edited meanwhile is queued only if it has no answer at all. A row that is not in '
  'flight (any more) is passed over, so that a repetition changes nothing. quota_exhausted pauses the pipeline. Returns how many '
  'were settled.';
revoke all on function rowmill.settle_failures from public;

-- API: internal
create or replace function rowmill.settle_refused(
  batch rowmill.batch_processing_details,
  counts jsonb -- as write_slice returns them
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_refused jsonb := counts -> 'refused';
  v_passed integer := (counts ->> 'enriched')::integer;
  v_first record;
  v_failed integer;
begin
  select r.sqlstate, r.message into v_first
  from jsonb_to_recordset(v_refused) as r(sqlstate text, message text, is_row boolean)
  where not r.is_row
  limit 1;
  -- A missing right or object is the operator's to give, and every answer waits for it. Where other rows of the slice
  -- passed, or more of the batch before, it is these rows'.
  if found and v_passed = 0 and jsonb_array_length(v_refused) >= batch.rows_enriched
    and not exists (select from jsonb_array_elements(v_refused) as r(value) where (r.value -> 'is_row')::boolean) then
    raise exception using errcode = v_first.sqlstate, message = v_first.message;
  end if;
  select coalesce(sum(rowmill.fail_answer(batch, r.answer, r.sqlstate, r.message)), 0) into strict v_failed
  from jsonb_to_recordset(v_refused) as r(answer jsonb, sqlstate text, message text);
  return counts - 'refused' || jsonb_build_object('failed', v_failed);
end;
$$;
comment on function rowmill.settle_refused is
  'Fails the rows whose answers Postgres refused, each with its reason; returns the counts with them. Where every row of a slice is '
  'refused for a right or an object that is missing, it raises that instead: the slice can be tried again.';
revoke all on function rowmill.settle_refused from public;

-- API: internal
create or replace function rowmill.settle_rest(
  batch_id bigint, error_class text, code text, message text, retried boolean, counted boolean, noted boolean, delay_seconds integer
)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rest jsonb;
  v_settled integer := 0;
begin
  select jsonb_agg(jsonb_build_object(
    'c', r.chunk_id, 'n', r.n, 'h', r.hash,
    'class', settle_rest.error_class, 'code', settle_rest.code, 'message', settle_rest.message,
    'retried', settle_rest.retried, 'counted', settle_rest.counted, 'noted', settle_rest.noted, 'delay_seconds', settle_rest.delay_seconds
  ))
  into v_rest
  from rowmill.chunks as c
  join rowmill.chunk_rows as r on r.chunk_id = c.id
  where c.batch_id = settle_rest.batch_id;
  if v_rest is not null then
    select rowmill.settle_failures(b.pipeline_id, b.id, v_rest) into strict v_settled
    from rowmill.batch_processing_details as b
    where b.id = settle_rest.batch_id;
  end if;
  update rowmill.chunks as c
  set state = 'done', keys = null, ended_at = now()
  where c.batch_id = settle_rest.batch_id and c.state = 'batched';
  return v_settled;
end;
$$;
comment on function rowmill.settle_rest is
  'Settles every row of a batch that has no outcome yet, and ends its chunks; returns how many rows.';
revoke all on function rowmill.settle_rest from public;

-- API: internal
create or replace function rowmill.slice_sql(
  pipeline_id bigint,
  parts rowmill.source_parts,
  heals boolean, -- whether the pipeline has failures that a success takes away
  queue_position bigint, -- where the queue stands, if the answers are to be remembered; else null
  notes_version boolean -- whether row_versions, locked, is kept
)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  -- It runs under the owner's search_path: every name and every operator of it says where it is.
  select format(
    $sql$
    with taken as (
      delete from rowmill.chunk_rows as t
      using pg_catalog.jsonb_to_recordset($1) as r(c pg_catalog.int8, n pg_catalog.int8, h pg_catalog.text, %1$s)
      where t.chunk_id operator(pg_catalog.=) any ($2) and t.chunk_id operator(pg_catalog.=) r.c
      and t.n operator(pg_catalog.=) r.n and t.hash operator(pg_catalog.=) r.h
      returning t.key, t.hash, r.*
    ), %2$s%3$s%4$s%5$s
    select
      (select pg_catalog.count(*) from taken),
      (select pg_catalog.count(*) from written),
      %6$s,
      (
        select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('key', t.key, 'hash', t.hash))
        from taken as t
        where (select pg_catalog.count(*) from taken) operator(pg_catalog.<>) (select pg_catalog.count(*) from written)
        and not exists (select from written as w where w.key operator(pg_catalog.=) t.key)
      )
    $sql$,
    (parts).value_columns,
    rowmill.written_sql(parts),
    case when slice_sql.heals then
      format(
        $sql$, ill as (
          select f.key
          from rowmill.failures as f
          join written as w on pg_catalog.md5(f.key::pg_catalog.text) operator(pg_catalog.=) pg_catalog.md5(w.key::pg_catalog.text)
          where f.pipeline_id operator(pg_catalog.=) %1$s
          order by pg_catalog.md5(f.key::pg_catalog.text) using operator(pg_catalog.<)
          for update of f
        ), healed as (
          delete from rowmill.failures as f
          using ill
          where f.pipeline_id operator(pg_catalog.=) %1$s
          and pg_catalog.md5(f.key::pg_catalog.text) operator(pg_catalog.=) pg_catalog.md5(ill.key::pg_catalog.text)
        )$sql$,
        slice_sql.pipeline_id
      )
    end,
    case when slice_sql.queue_position is not null then
      format(
        $sql$, remembered as (
          insert into rowmill.answered_rows (pipeline_id, key, hash, queue_position) select %s, w.key, w.hash, %s from written as w
        )$sql$,
        slice_sql.pipeline_id, slice_sql.queue_position
      )
    end,
    case when slice_sql.notes_version then
      format(
        $sql$, versioned as (
          update rowmill.row_versions as v
          set version = $6
          from written as w
          where v.pipeline_id operator(pg_catalog.=) %s
          and pg_catalog.md5(v.key::pg_catalog.text) operator(pg_catalog.=) pg_catalog.md5(w.key::pg_catalog.text)
          and v.version operator(pg_catalog.<) $6
        )$sql$,
        slice_sql.pipeline_id
      )
    end,
    case when (parts).target is null then 'null::pg_catalog.int8' else '(select pg_catalog.count(*) from put)' end
  );
$$;
comment on function rowmill.slice_sql is
  'The statement that writes a slice and settles its rows in flight. $1 answers, $2 chunks, and as provenance has them: $3 batch, '
  '$4 model, $5 time, $6 version. It returns how many rows it took, wrote and put into the target, and those that it did not write.';
revoke all on function rowmill.slice_sql from public;

-- API: internal
create or replace function rowmill.with_twins(
  outcomes jsonb, -- [{"c": chunk, "n", …}]
  chunk_ids bigint[]
)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select with_twins.outcomes || coalesce(jsonb_agg(o.value || jsonb_build_object('n', r.n)), '[]')
  from jsonb_array_elements(with_twins.outcomes) as o(value)
  join rowmill.chunk_rows as r
    on r.chunk_id = (o.value ->> 'c')::bigint and r.same_as = (o.value ->> 'n')::bigint and r.hash = o.value ->> 'h'
  where r.chunk_id = any (with_twins.chunk_ids);
$$;
comment on function rowmill.with_twins is
  'Outcomes of requests, and the same for each row in flight that has the input of one of them.';
revoke all on function rowmill.with_twins from public;

-- API: internal
create or replace function rowmill.write_answers(
  batch rowmill.batch_processing_details,
  chunk_ids bigint[],
  answers jsonb, -- [{"c": chunk, "n", "h": hash, "o0": value, …}]
  heals boolean, -- whether the pipeline has failures that a success takes away
  queue_position bigint -- where the queue stands, if the answers are to be remembered; else null
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_parts rowmill.source_parts;
  v_refused integer := 0;
  v_counts jsonb := '{"enriched": 0, "stale": 0, "gone": 0, "failed": 0}'::jsonb;
begin
  -- alter_pipeline waits for this slice: no newer version comes to be while it is written.
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = batch.pipeline_id for key share;

  if not exists (select from pg_class as c where c.oid = v_pipeline.source)
    or not exists (select from pg_class as c where c.oid = v_pipeline.target) then
    return v_counts || jsonb_build_object('gone', rowmill.let_go_of_rows(write_answers.chunk_ids, write_answers.answers));
  end if;
  -- Nobody adds a trigger between the look at whose code would run (source_parts_of) and the write.
  execute format('lock table %s in row exclusive mode', v_pipeline.target);

  if batch.pipeline_version < v_pipeline.version and rowmill.structure_problem(v_pipeline.id, batch.pipeline_version) is not null
    and rowmill.structure_problem(v_pipeline.id) is null then
    -- A column that the newer version does without was dropped: nobody will repair the older one.
    return v_counts || jsonb_build_object(
      'stale', rowmill.return_rows(v_pipeline.id, write_answers.chunk_ids, write_answers.answers)
    );
  end if;
  if v_pipeline.version > 1 then
    perform rowmill.lock_row_versions(v_pipeline.id, write_answers.chunk_ids, write_answers.answers);
  end if;
  if batch.pipeline_version < v_pipeline.version then
    v_refused := rowmill.refuse_older_answers(batch, write_answers.chunk_ids, write_answers.answers);
    if rowmill.fills_inputs_of(rowmill.definition_of(v_pipeline.id, batch.pipeline_version), v_pipeline) then
      -- What an older version fills, the newer reads: its answer is an edit like any other.
      perform set_config('rowmill.applying', '', true);
    end if;
  end if;

  v_parts := rowmill.source_parts_of(v_pipeline.id, batch.pipeline_version);
  v_counts := rowmill.write_slice(batch, write_answers.chunk_ids, v_parts, write_answers.answers, rowmill.slice_sql(
    v_pipeline.id, v_parts, write_answers.heals, write_answers.queue_position, v_pipeline.version > 1
  ));
  v_counts := case when v_counts -> 'refused' = '[]' then v_counts - 'refused' else rowmill.settle_refused(batch, v_counts) end;
  return v_counts || jsonb_build_object('stale', (v_counts ->> 'stale')::integer + v_refused);
end;
$$;
comment on function rowmill.write_answers is
  'Writes the answers of a batch under its version, and settles their rows in flight. One for a row that a newer version has '
  'answered is refused, and counts as stale; one that Postgres refuses fails its row alone. Returns {"enriched", "stale", "gone", '
  '"failed"}.';
revoke all on function rowmill.write_answers from public;

-- API: internal
create or replace function rowmill.write_slice(
  batch rowmill.batch_processing_details,
  chunk_ids bigint[],
  parts rowmill.source_parts,
  answers jsonb, -- [{"c": chunk, "n", "h": hash, "o0": value, …}]
  statement text -- of slice_sql
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_slice record;
  v_stale integer;
  v_state text;
  v_message text;
  v_fault text;
  v_half integer := jsonb_array_length(answers) / 2;
begin
  begin
    v_slice := rowmill.run_slice(batch, write_slice.chunk_ids, parts, write_slice.answers, write_slice.statement);
  exception
    -- "others" leaves out assertions, which a trigger may make.
    when others or assert_failure then
      get stacked diagnostics v_state = returned_sqlstate, v_message = message_text;
      v_fault := rowmill.fault_of(v_state);
      -- No row may lose its answer to the system's state.
      if v_fault = 'system' then
        raise;
      end if;
      if v_fault = 'statement' then
        -- What the statement itself lacks, it lacks without a row as well: that is raised here.
        perform rowmill.run_slice(batch, write_slice.chunk_ids, parts, '[]', write_slice.statement);
      end if;
      if v_half > 0 then
        -- Halves, until the stranger stands alone and its neighbours are written.
        return rowmill.add_slices(
          rowmill.write_slice(batch, write_slice.chunk_ids, parts,
            jsonb_path_query_array(write_slice.answers, '$[0 to $last]', jsonb_build_object('last', v_half - 1)), write_slice.statement),
          rowmill.write_slice(batch, write_slice.chunk_ids, parts,
            jsonb_path_query_array(write_slice.answers, '$[$first to last]', jsonb_build_object('first', v_half)), write_slice.statement)
        );
      end if;
      return jsonb_build_object('enriched', 0, 'stale', 0, 'gone', 0, 'failed', 0, 'refused', jsonb_build_array(jsonb_build_object(
        'answer', write_slice.answers -> 0, 'sqlstate', v_state, 'message', v_message, 'is_row', v_fault = 'row'
      )));
  end;

  v_stale := case when v_slice.unwritten is null then 0 else rowmill.queue_stale(batch.pipeline_id, parts, v_slice.unwritten) end;
  return jsonb_build_object(
    'enriched', v_slice.written, 'stale', v_stale, 'gone', v_slice.taken - v_slice.written - v_stale, 'failed', 0, 'refused', '[]'::jsonb
  );
end;
$$;
comment on function rowmill.write_slice is
  'Writes answers over the very inputs that they were computed from, and settles their rows in flight. Returns {"enriched", "stale", '
  '"gone", "failed": 0, "refused": [{"answer", "sqlstate", "message", "is_row"}]}: the refused ones, each of which Postgres refuses '
  'alone, are in flight still. Raises what is no row''s fault.';
revoke all on function rowmill.write_slice from public;

-- API: internal
create or replace function rowmill.written_sql(parts rowmill.source_parts)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when (parts).target is null then format(
      $sql$written as (
        update %1$s as s
        set %2$s
        from taken as k
        where %3$s and %4$s operator(pg_catalog.=) k.hash
        returning k.key, k.hash
      )$sql$,
      (parts).relation, (parts).set_list, (parts).key_match, (parts).hash
    )
    -- The source's rows are locked, in one order for all sessions: an edit on its way is waited for and looked at.
    else format(
      $sql$written as (
        select k.*, %5$s
        from taken as k
        join %1$s as s on %2$s
        where %3$s operator(pg_catalog.=) k.hash
        order by pg_catalog.md5(k.key::pg_catalog.text) using operator(pg_catalog.<)
        for share of s
      ), put as (
        insert into %4$s as f (%6$s)
        select %7$s from written as w
        on conflict (%8$s) do update set %9$s
        returning 1
      )$sql$,
      (parts).relation, (parts).key_match, (parts).hash, (parts).target, (parts).key_columns,
      (parts).target_columns, (parts).target_values, (parts).target_keys, (parts).excluded_list
    )
  end;
$$;
comment on function rowmill.written_sql is
  'The part of slice_sql that writes the outputs over the very inputs that they were computed from, in the source or in its target.';
revoke all on function rowmill.written_sql from public;

-- API: internal
create or replace function rowmill.bring_triggers_up(
  pipeline rowmill.pipelines,
  out has_attached boolean, -- the table is locked against writers until the transaction ends
  out problem text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  has_attached := false;
  if (bring_triggers_up.pipeline).trigger_names <> rowmill.trigger_names_of((bring_triggers_up.pipeline).id) then
    perform rowmill.write_trigger_functions((bring_triggers_up.pipeline).id);
  end if;
  has_attached := rowmill.triggers_are_behind((bring_triggers_up.pipeline).id)
    and rowmill.attach_triggers((bring_triggers_up.pipeline).id) > 0;
exception
  when lock_not_available then
    null; -- somebody writes; the next tick tries again
  when insufficient_privilege then
    problem := format('its triggers could not be brought up to date: %s; drop_pipeline(%L) and create it again as the owner of both',
      sqlerrm, (bring_triggers_up.pipeline).name);
end;
$$;
comment on function rowmill.bring_triggers_up is
  'Brings a pipeline''s triggers up to renamed columns, new partitions and BEFORE triggers; says why not where the owner may not.';
revoke all on function rowmill.bring_triggers_up from public;

-- API: internal
create or replace function rowmill.cron_jobs()
returns table (job_id bigint, job_name text, schedule text, command text, is_active boolean)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cron text := 'cron';
begin
  if rowmill.cron_version() is null or not rowmill.may_read('cron.job') then
    return;
  end if;
  for job_id, job_name, schedule, command, is_active in
    execute format(
      $sql$
      select j.jobid, j.jobname::text, j.schedule, j.command, j.active
      from %I.job as j
      where j.database = current_database() and j.jobname in ($1, $2)
      $sql$, v_cron
    )
    using 'rowmill tick', 'rowmill tick: forget old runs'
  loop
    return next;
  end loop;
end;
$$;
comment on function rowmill.cron_jobs is
  'What rowmill.schedule() put into pg_cron, as whoever asks may see it; nothing where pg_cron is not here.';
revoke all on function rowmill.cron_jobs from public;

-- API: internal
create or replace function rowmill.cron_version()
returns numeric
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select substring(e.extversion from '^\d+\.\d+')::numeric
  from pg_extension as e
  where e.extname = 'pg_cron'
  and rowmill.may_use('cron.schedule', array['text', 'text', 'text'])
  and rowmill.may_use('cron.unschedule', array['bigint']);
$$;
comment on function rowmill.cron_version is
  'The version of pg_cron, e.g. 1.6; null where it is not in this database or closed to whoever asks. Its versions have had one '
  'digit after the point so far.';
revoke all on function rowmill.cron_version from public;

-- API: internal
create or replace function rowmill.forget_answered_rows()
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  delete from rowmill.answered_rows as d
  where d.ctid = any (array(
    select a.ctid
    from rowmill.answered_rows as a
    join (
      select r.pipeline_id, rowmill.oldest_unread(r.pipeline_id) as oldest
      from (select distinct r.pipeline_id from rowmill.answered_rows as r) as r
    ) as u on u.pipeline_id = a.pipeline_id
    where a.queue_position < coalesce(u.oldest, a.queue_position + 1)
    for update of a skip locked -- a worker is about to forget it
  ));
$$;
comment on function rowmill.forget_answered_rows is
  'Forgets rows that were answered, where nothing that was queued before the answer can ask for them again.';
revoke all on function rowmill.forget_answered_rows from public;

-- API: internal
create or replace function rowmill.forget_old_failures()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline record;
begin
  for v_pipeline in
    select p.id
    from rowmill.pipelines as p
    where p.state <> 'dropped' and exists (select from rowmill.failures as f where f.pipeline_id = p.id)
    order by p.id
  loop
    begin
      perform rowmill.forget_failures(v_pipeline.id, 1000);
    exception when others then
      null; -- its table is gone or locked; what is wrong with it is said elsewhere
    end;
  end loop;
end;
$$;
comment on function rowmill.forget_old_failures is
  'forget_failures() for every pipeline, a slice each; one that cannot be done holds up no other.';
revoke all on function rowmill.forget_old_failures from public;

-- API: internal
create or replace function rowmill.form_chunks(
  pipeline rowmill.pipelines,
  max_chunks integer,
  out formed integer,
  out posted integer
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_chunk_id bigint;
begin
  formed := 0;
  posted := 0;
  while formed < form_chunks.max_chunks loop
    v_chunk_id := rowmill.form_chunk((form_chunks.pipeline).id, false);
    if v_chunk_id is null and exists (
      select
      from rowmill.pending_keys as k
      where k.pipeline_id = (form_chunks.pipeline).id
      and k.queued_at <= clock_timestamp() - (form_chunks.pipeline).flush_after
    ) then
      v_chunk_id := rowmill.form_chunk((form_chunks.pipeline).id, true);
    end if;
    exit when v_chunk_id is null;
    formed := formed + 1;
    begin
      if rowmill.post_chunk(v_chunk_id) then
        posted := posted + 1;
      end if;
    exception when others then
      null; -- the chunk stands; the tick posts it again and says what is wrong
    end;
  end loop;
end;
$$;
comment on function rowmill.form_chunks is
  'Forms and posts up to max_chunks chunks of a pipeline: full ones, and one of less where rows have waited for flush_after.';
revoke all on function rowmill.form_chunks from public;

-- API: internal
create or replace function rowmill.note_tick_problem(pipeline_id bigint, problem text)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  update rowmill.pipelines as p
  set
    problem = note_tick_problem.problem,
    problem_at = case when note_tick_problem.problem is not null then now() end,
    problem_by = case when note_tick_problem.problem is not null then 'tick' end
  where p.id = note_tick_problem.pipeline_id
  and p.problem is distinct from note_tick_problem.problem
  and (note_tick_problem.problem is not null or p.problem_by = 'tick');
$$;
comment on function rowmill.note_tick_problem is
  'What the tick found wrong, for pipeline_status; null, when it works again, clears what the tick found.';
revoke all on function rowmill.note_tick_problem from public;

-- API: internal
create or replace function rowmill.pipelines_to_tick()
returns setof rowmill.pipelines
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select p.*
  from rowmill.pipelines as p
  where p.state = 'active'
  and (
    exists (select from rowmill.pending_keys as k where k.pipeline_id = p.id)
    or exists (select from rowmill.backfills as b where b.pipeline_id = p.id and b.finished_at is null)
    or p.trigger_names <> coalesce(rowmill.trigger_names_of(p.id), '')
    or rowmill.triggers_are_behind(p.id)
    or p.problem_by = 'tick'
    or exists (select from rowmill.trigger_errors as e where e.pipeline_id = p.id and (e.what = 'chunk' or e.keys is not null))
  )
  order by p.id;
$$;
comment on function rowmill.pipelines_to_tick is
  'Active pipelines with something to do, or to look at again.';
revoke all on function rowmill.pipelines_to_tick from public;

-- API: internal
create or replace function rowmill.post_again(max_chunks integer)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_chunk record;
  v_posted integer := 0;
begin
  if not rowmill.can_post() then
    return 0;
  end if;
  for v_chunk in
    select c.id, c.pipeline_id
    from rowmill.chunks as c
    join rowmill.pipelines as p on p.id = c.pipeline_id
    cross join rowmill.settings as s
    where c.state = 'waiting' and p.state = 'active'
    and c.waits_for is null -- its post was heard
    and (c.posted_at is null or c.posted_at < now() - least(s.repost_after * power(2, least(c.posts - 1, 10)), interval '1 hour'))
    order by c.id
    limit post_again.max_chunks
  loop
    begin
      if rowmill.post_chunk(v_chunk.id) then
        v_posted := v_posted + 1;
      end if;
    exception when others then
      perform rowmill.note_tick_problem(v_chunk.pipeline_id, 'a chunk could not be posted: ' || sqlerrm);
    end;
  end loop;
  return v_posted;
end;
$$;
comment on function rowmill.post_again is
  'Posts chunks that were posted and accepted by nobody, less and less often, and those that could not be posted; returns how many.';
revoke all on function rowmill.post_again from public;

-- API: internal
create or replace function rowmill.release_expired_leases()
returns integer
language sql
set search_path = pg_catalog, pg_temp
as $$
  with expired as (
    update rowmill.chunks as c
    set state = 'waiting', owner = null, lease_until = null
    where c.state = 'accepted' and c.lease_until < now()
    returning c.id
  ), let_go as (
    delete from rowmill.chunk_rows as r using expired as e where r.chunk_id = e.id
  )
  select count(*)::integer from expired;
$$;
comment on function rowmill.release_expired_leases is
  'Takes chunks back from workers that fell silent; returns how many.';
revoke all on function rowmill.release_expired_leases from public;

-- API: public
create or replace function rowmill.schedule(
  every interval default '10 seconds' -- whole seconds below a minute, or whole minutes below an hour
)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cron text := 'cron';
  v_version numeric := rowmill.cron_version();
  v_seconds numeric := extract(epoch from every);
  v_schedule text;
  v_command text := 'select rowmill.tick()';
  v_job_id bigint;
begin
  if v_version is null then
    raise exception using errcode = 'RM116', message = 'pg_cron is not in this database, or not open to this role',
      detail = format('This is database "%s", role "%s".', current_database(), current_user),
      hint = 'On Supabase: Integrations, Cron. Elsewhere: shared_preload_libraries = ''pg_cron'', '
        'cron.database_name = this database, create extension pg_cron. Workers tick without it.';
  end if;
  v_schedule := case
    when v_seconds is null or v_seconds <= 0 or v_seconds <> trunc(v_seconds) then null
    when v_seconds < 60 and v_version >= 1.5 then v_seconds::integer || ' seconds'
    when v_seconds <= 60 then '* * * * *'
    when v_seconds % 60 = 0 and v_seconds < 3600 then format('*/%s * * * *', (v_seconds / 60)::integer)
  end;
  if v_schedule is null then
    raise exception using errcode = 'RM109', message = 'pg_cron cannot tick at this interval',
      detail = format('every is %L.', every),
      hint = 'Give whole seconds below a minute or whole minutes below an hour: select rowmill.schedule(''10 seconds'');';
  end if;
  if v_seconds < 60 and v_version < 1.5 then
    -- It knows no seconds: one run a minute ticks several times, each time in a transaction of its own.
    v_command := format(
      'do $tick$ declare v_start timestamptz := clock_timestamp(); begin for v_at in 0 .. 59 by %s loop '
      'perform pg_sleep_until(v_start + v_at * interval ''1 second''); perform rowmill.tick(); commit; end loop; end $tick$',
      v_seconds::integer
    );
  end if;
  execute format('select %I.schedule($1, $2, $3)', v_cron) into strict v_job_id using 'rowmill tick', v_schedule, v_command;
  -- pg_cron notes every run and forgets none: 8,640 rows a day.
  execute format('select %I.schedule($1, $2, $3)', v_cron)
  using
    'rowmill tick: forget old runs',
    '17 3 * * *',
    format('delete from cron.job_run_details where jobid = %s and end_time < now() - interval ''7 days''', v_job_id);
  return format('rowmill.tick() runs every %s (pg_cron job %s)', every, v_job_id);
end;
$$;
comment on function rowmill.schedule is
  'Lets pg_cron call rowmill.tick(), so that chunks are formed and posted while no worker runs; returns what was set up. Repeating '
  'it changes the interval. Raises RM116 without pg_cron, RM109 for an interval that it cannot do. A pg_cron older than 1.5 ticks '
  'within a run of a minute.';
revoke all on function rowmill.schedule from public;

-- API: worker
create or replace function rowmill.tick(max_chunks integer default 50)
returns jsonb
language plpgsql
security definer -- pg_cron and the worker call it; neither has rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_counts jsonb;
  v_released integer;
  v_posted integer := 0;
  v_has_attached boolean;
begin
  -- Two ticks at once would do no harm, and the second no good. A row, and no advisory lock: any role can take those.
  perform from rowmill.locks as l where l.name = 'tick' for update skip locked;
  if not found then
    return jsonb_build_object('queued', 0, 'formed', 0, 'posted', 0, 'released', 0, 'more', false);
  end if;

  v_released := rowmill.release_expired_leases();
  perform rowmill.forget_answered_rows();
  v_counts := rowmill.tick_pipelines(tick.max_chunks);
  v_has_attached := (v_counts ->> 'has_attached')::boolean;
  if not v_has_attached then
    perform rowmill.forget_old_failures();
    v_posted := rowmill.post_again(20);
    begin
      perform rowmill.forget_webhooks();
      perform rowmill.ring_workers();
    exception when others then
      null; -- neither is worth a tick; rowmill.doctor() says what is wrong with posts
    end;
  end if;

  return jsonb_build_object(
    'queued', (v_counts ->> 'queued')::integer,
    'formed', (v_counts ->> 'formed')::integer,
    'posted', (v_counts ->> 'posted')::integer + v_posted,
    'released', v_released,
    'more', v_has_attached or (v_counts ->> 'more')::boolean
  );
end;
$$;
comment on function rowmill.tick is
  'Takes every pipeline forward and posts again what nobody accepted; to be called every few seconds, by any number of callers: '
  'one works, the others return at once. Returns {"queued","formed","posted","released","more"}; more: call again now. '
  'A crash undoes the tick and nothing else.';
revoke all on function rowmill.tick from public;

-- API: internal
create or replace function rowmill.tick_pipeline(pipeline_id bigint, max_chunks integer)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms' -- a trigger waits for whoever writes to its table, and all other writers behind it
as $$
declare
  v_pipeline rowmill.pipelines;
  v_triggers record;
  v_chunks record;
  v_queued integer;
  v_problem text;
begin
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = tick_pipeline.pipeline_id;
  v_problem := rowmill.structure_problem(v_pipeline.id);
  if v_problem is not null then
    raise exception using errcode = 'RM201', message = v_problem;
  end if;
  v_triggers := rowmill.bring_triggers_up(v_pipeline);
  if v_triggers.has_attached then
    -- The table is locked against writers until this transaction ends, so it ends now.
    return jsonb_build_object('queued', 0, 'formed', 0, 'posted', 0, 'more', true, 'has_attached', true);
  end if;
  v_queued := rowmill.queue_kept_keys(v_pipeline.id) + rowmill.backfill_slice(v_pipeline.id, 10000);
  v_chunks := rowmill.form_chunks(v_pipeline, tick_pipeline.max_chunks);
  return jsonb_build_object(
    'queued', v_queued,
    'formed', v_chunks.formed,
    'posted', v_chunks.posted,
    'more', v_chunks.formed = tick_pipeline.max_chunks or v_queued > 0,
    'problem', v_triggers.problem
  );
end;
$$;
comment on function rowmill.tick_pipeline is
  'Takes one pipeline forward: renames, new partitions and BEFORE triggers, keys that triggers kept, a slice of a '
  'backfill, up to max_chunks chunks. '
  'has_attached: a table is locked, and the caller must end its transaction. Raises what is wrong with the pipeline.';
revoke all on function rowmill.tick_pipeline from public;

-- API: internal
create or replace function rowmill.tick_pipelines(max_chunks integer)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline record;
  v_counts jsonb;
  v_queued integer := 0;
  v_formed integer := 0;
  v_posted integer := 0;
  v_more boolean := false;
  v_has_attached boolean := false;
begin
  for v_pipeline in select p.id, p.problem_by from rowmill.pipelines_to_tick() as p loop
    begin
      v_counts := rowmill.tick_pipeline(v_pipeline.id, tick_pipelines.max_chunks);
      v_queued := v_queued + (v_counts ->> 'queued')::integer;
      v_formed := v_formed + (v_counts ->> 'formed')::integer;
      v_posted := v_posted + (v_counts ->> 'posted')::integer;
      v_more := v_more or (v_counts ->> 'more')::boolean;
      if v_pipeline.problem_by = 'tick' or v_counts ->> 'problem' is not null then
        perform rowmill.note_tick_problem(v_pipeline.id, v_counts ->> 'problem');
      end if;
      v_has_attached := coalesce((v_counts ->> 'has_attached')::boolean, false);
      exit when v_has_attached;
      delete from rowmill.trigger_errors as e where e.pipeline_id = v_pipeline.id and e.what = 'chunk';
    exception when others then
      -- One broken pipeline holds up no other.
      perform rowmill.note_tick_problem(v_pipeline.id, sqlerrm);
    end;
  end loop;
  return jsonb_build_object(
    'queued', v_queued, 'formed', v_formed, 'posted', v_posted, 'more', v_more, 'has_attached', v_has_attached
  );
end;
$$;
comment on function rowmill.tick_pipelines is
  'Takes every pipeline forward, and notes what is wrong with one. has_attached: a table is locked, the pipelines after it were not '
  'reached, and the caller must end its transaction.';
revoke all on function rowmill.tick_pipelines from public;

-- API: public
create or replace function rowmill.unschedule()
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cron text := 'cron';
  v_job record;
  v_count integer := 0;
begin
  for v_job in select j.job_id from rowmill.cron_jobs() as j loop
    execute format('select %I.unschedule($1::bigint)', v_cron) using v_job.job_id;
    v_count := v_count + 1;
  end loop;
  return case when v_count = 0 then 'pg_cron had nothing of Rowmill''s' else 'pg_cron ticks no more; workers do' end;
end;
$$;
comment on function rowmill.unschedule is
  'Takes back what rowmill.schedule() put into pg_cron; returns what it found. Harmless to repeat.';
revoke all on function rowmill.unschedule from public;

-- API: public
create or replace view rowmill.batch_status with (security_invoker = true) as
select
  b.id as batch_id,
  p.name as pipeline,
  b.state,
  b.provider_status,
  b.provider_batch_id,
  b.model,
  b.pipeline_version as version,
  b.requests,
  b.rows,
  b.requests_completed,
  b.rows_enriched,
  b.rows_failed,
  b.rows_stale,
  b.rows_gone,
  b.lines_duplicate,
  b.lines_unknown,
  b.failed_by_class,
  b.estimated_input_tokens,
  coalesce(b.reported_input_tokens, b.input_tokens) as input_tokens,
  coalesce(b.reported_cached_tokens, b.cached_tokens) as cached_tokens,
  b.estimated_output_tokens,
  coalesce(b.reported_output_tokens, b.output_tokens) as output_tokens,
  round(b.estimated_usd, 6) as estimated_usd,
  case when b.settled_at is null and b.reserved_usd is null then null else round(coalesce(b.reserved_usd, 0), 6) end as reserved_usd,
  round(case
    when b.settled_at is null then null
    when b.spent_usd is not null then b.spent_usd
    -- at today's price, where there was none when it was settled
    else rowmill.cost_usd(rowmill.price_of(b.model), coalesce(b.reported_input_tokens, b.input_tokens),
      coalesce(b.reported_cached_tokens, b.cached_tokens), coalesce(b.reported_output_tokens, b.output_tokens))
  end, 6) as spent_usd,
  b.created_at,
  b.submitted_at,
  b.polled_at,
  b.ended_at,
  b.done_at,
  b.problem,
  b.provider_errors
from rowmill.batch_processing_details as b
join rowmill.pipelines as p on p.id = b.pipeline_id;
comment on view rowmill.batch_status is
  'One row a batch: what was estimated, what is reserved while it runs, what it did use and cost. '
  'spent_usd is null until the batch is settled, and every sum in dollars where model_prices has no price for the model.';

-- API: public
create or replace view rowmill.pipeline_status with (security_invoker = true) as
select
  p.name,
  p.source,
  p.state,
  p.state_reason,
  rowmill.pipeline_problem(p.id) as problem,
  coalesce(k.rows, 0) as pending,
  coalesce(c.rows, 0) as waiting,
  coalesce(b.in_flight, 0) as in_flight,
  coalesce(b.enriched, 0) as enriched,
  coalesce(f.failed, 0) as failed,
  coalesce(f.retrying, 0) as retrying,
  coalesce(b.stale, 0) as stale,
  coalesce(b.gone, 0) as gone,
  least(k.oldest, c.oldest) as oldest_waiting,
  coalesce(b.open_batches, 0) as open_batches,
  coalesce(b.batches, 0) as batches,
  coalesce(b.input_tokens, 0) as input_tokens,
  coalesce(b.cached_tokens, 0) as cached_tokens,
  coalesce(b.output_tokens, 0) as output_tokens,
  case when coalesce(b.unsettled, 0) = 0 then 0 else round(b.estimated_usd, 6) end as estimated_usd,
  case
    when coalesce(k.rows, 0) + coalesce(c.rows, 0) = 0 then 0
    else round((coalesce(k.rows, 0) + coalesce(c.rows, 0)) * (rowmill.history_of(p.id)).usd_per_request, 6)
  end as queued_usd,
  case when b.has_unknown_reservation then null else round(m.reserved_usd, 6) end as reserved_usd,
  round(m.spent_usd, 6) as spent_usd,
  p.budget_usd,
  p.daily_budget_usd,
  case
    when p.state = 'active' and coalesce(k.rows, 0) + coalesce(c.rows, 0) > 0
    then coalesce((rowmill.room_for(p.id)).reason, c.wait_reason)
    when p.state = 'paused' then coalesce(p.state_reason, 'It was paused by hand.')
  end as waiting_reason,
  case
    when l.pipeline_id is null then null
    else format('%s rows queued%s', l.rows_queued, case when l.finished_at is null then ', going on' else ', done' end)
  end as backfill
from rowmill.pipelines as p
left join lateral (
  select sum(k.row_count)::bigint as rows, min(k.queued_at) as oldest
  from rowmill.pending_keys as k
  where k.pipeline_id = p.id
) as k on true
left join lateral (
  select
    sum(c.row_count)::bigint as rows,
    min(c.formed_at) as oldest,
    (array_agg(c.wait_reason order by c.id) filter (where c.wait_reason is not null))[1] as wait_reason
  from rowmill.chunks as c
  where c.pipeline_id = p.id and c.state in ('waiting', 'accepted')
) as c on true
left join lateral (
  select
    sum(b.rows - b.rows_enriched - b.rows_failed - b.rows_stale - b.rows_gone)
      filter (where b.state in ('preparing', 'running', 'ended'))::bigint as in_flight,
    sum(b.rows_enriched)::bigint as enriched,
    sum(b.rows_stale)::bigint as stale,
    sum(b.rows_gone)::bigint as gone,
    count(*) filter (where b.state in ('preparing', 'running', 'ended', 'harvested')) as open_batches,
    count(*) filter (where b.provider_batch_id is not null) as batches,
    rowmill.clamped(sum(coalesce(b.reported_input_tokens, b.input_tokens)), 9e18) as input_tokens,
    rowmill.clamped(sum(coalesce(b.reported_cached_tokens, b.cached_tokens)), 9e18) as cached_tokens,
    rowmill.clamped(sum(coalesce(b.reported_output_tokens, b.output_tokens)), 9e18) as output_tokens,
    count(*) filter (where b.settled_at is null) as unsettled,
    case
      when bool_and(b.estimated_usd is not null) filter (where b.settled_at is null)
      then sum(b.estimated_usd) filter (where b.settled_at is null)
    end as estimated_usd,
    coalesce(bool_or(b.settled_at is null and b.reserved_usd is null), false) as has_unknown_reservation
  from rowmill.batch_processing_details as b
  where b.pipeline_id = p.id
) as b on true
left join lateral (
  select count(*) filter (where f.is_final) as failed, count(*) filter (where not f.is_final) as retrying
  from rowmill.failures as f
  where f.pipeline_id = p.id
) as f on true
left join rowmill.backfills as l on l.pipeline_id = p.id
cross join lateral rowmill.money_of(p.id) as m
where p.state <> 'dropped';
comment on view rowmill.pipeline_status is
  'One row a pipeline. pending: queued rows in no chunk; waiting: rows of chunks in no batch; '
  'in_flight: rows in batches without an outcome; '
  'enriched, stale, gone: answers written, refused since the row was edited, without a row; '
  'failed: rows in row_failures; retrying: failed and sent again. '
  'estimated_usd: what runs will cost; queued_usd: what waits will, at what a row of this pipeline cost before; '
  'reserved_usd: what runs may cost at most; each null where it cannot be known. '
  'waiting_reason: why nothing is sent.';

-- API: public
create or replace view rowmill.row_failures with (security_invoker = true) as
select
  p.name as pipeline,
  f.key,
  f.error_class,
  f.code,
  f.message,
  f.attempts,
  f.batch_id,
  f.hash as input_hash,
  f.first_at,
  f.last_at
from rowmill.failures as f
join rowmill.pipelines as p on p.id = f.pipeline_id
where f.is_final and p.state <> 'dropped';
comment on view rowmill.row_failures is
  'Rows that are not enriched and not tried again, each with its reason. key is the row''s primary key as a JSON array.';

-- Whatever was made anew has lost its grants: this gives them back, and takes away what nobody should have.
select rowmill.grant_to_workers();

reset search_path;
reset check_function_bodies;
