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
