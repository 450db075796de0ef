-- API: public
create or replace function rowmill.alter_pipeline(
  pipeline text,
  -- null leaves each as it is
  instructions text default null,
  prompt text default null,
  outputs text[] default null,
  model text default null,
  format text default null,
  output_schema json default null,
  filter text default null,
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
  v_new rowmill.pipelines;
  v_kept rowmill.pipelines;
  v_outputs text[] := outputs;
  v_provenance jsonb := case when 'provenance' = any (v_reset) then '{}' else provenance end;
begin
  perform rowmill.check_resets(
    jsonb_build_object(
      'instructions', alter_pipeline.instructions, 'format', alter_pipeline.format, 'output_schema', alter_pipeline.output_schema,
      'filter', alter_pipeline.filter, 'params', alter_pipeline.params, 'endpoint', alter_pipeline.endpoint,
      'provenance', alter_pipeline.provenance, 'placeholder_style', alter_pipeline.placeholder_style,
      'chunk_size', alter_pipeline.chunk_size, 'flush_after', alter_pipeline.flush_after, 'max_attempts', alter_pipeline.max_attempts,
      'budget_usd', alter_pipeline.budget_usd, 'daily_budget_usd', alter_pipeline.daily_budget_usd
    ),
    v_reset
  );
  -- One at a time, and not while a slice of results is written.
  perform from rowmill.pipelines as p where p.id = v_old.id for update;
  v_old := rowmill.pipeline_named(alter_pipeline.pipeline);

  if not exists (select from pg_class as c where c.oid = v_old.source) or not exists (select from pg_class as c where c.oid = v_old.target) then
    raise exception using errcode = 'RM201', message = rowmill.structure_problem(v_old.id),
      detail = 'A pipeline keeps the tables that it was declared over.', hint = format('select rowmill.drop_pipeline(%L);', v_old.name);
  end if;

  v_new := v_old;
  v_new.chunk_size := case when 'chunk_size' = any (v_reset) then 1000 else coalesce(alter_pipeline.chunk_size, v_old.chunk_size) end;
  v_new.flush_after := case when 'flush_after' = any (v_reset) then '1 minute' else coalesce(alter_pipeline.flush_after, v_old.flush_after) end;
  v_new.max_attempts := case when 'max_attempts' = any (v_reset) then 3 else coalesce(alter_pipeline.max_attempts, v_old.max_attempts) end;
  v_new.budget_usd := case when 'budget_usd' <> all (v_reset) then coalesce(alter_pipeline.budget_usd, v_old.budget_usd) end;
  v_new.daily_budget_usd := case when 'daily_budget_usd' <> all (v_reset) then coalesce(alter_pipeline.daily_budget_usd, v_old.daily_budget_usd) end;

  v_new.instructions := case when 'instructions' <> all (v_reset) then coalesce(alter_pipeline.instructions, v_old.instructions) end;
  v_new.prompt := coalesce(alter_pipeline.prompt, v_old.prompt);
  v_new.placeholder_style := case when 'placeholder_style' = any (v_reset) then 'braces' else coalesce(alter_pipeline.placeholder_style, v_old.placeholder_style) end;
  v_new.model := coalesce(alter_pipeline.model, v_old.model);
  v_new.endpoint := case when 'endpoint' = any (v_reset) then '/v1/chat/completions' else coalesce(alter_pipeline.endpoint, v_old.endpoint) end;
  v_new.format := case when 'format' = any (v_reset) then 'json' else coalesce(alter_pipeline.format, v_old.format) end;
  v_new.params := case when 'params' = any (v_reset) then '{}' else coalesce(alter_pipeline.params, v_old.params) end;
  v_new.own_schema := case when 'output_schema' <> all (v_reset) then coalesce(alter_pipeline.output_schema, v_old.own_schema) end;
  v_new.filter := case
    when 'filter' = any (v_reset) then null
    when alter_pipeline.filter is null then v_old.filter
    else nullif(btrim(alter_pipeline.filter), '')
  end;
  perform rowmill.check_values(v_new);

  if v_outputs is not null or v_provenance is not null or rowmill.version_fields(v_new)::text <> rowmill.version_fields(v_old)::text then
    -- What is as it was keeps the names that it was written with; the rest sees the table as it is.
    if v_new.prompt is distinct from v_old.prompt or v_new.placeholder_style <> v_old.placeholder_style then
      v_new.inputs := null;
    end if;
    if v_new.filter is distinct from v_old.filter then
      v_new.filter_columns := null;
      select c.relname into strict v_new.source_name from pg_class as c where c.oid = v_old.source;
    end if;
    v_kept := v_new;
    v_kept.outputs := case when v_outputs is null then v_old.outputs end;
    v_kept.provenance := case when v_provenance is null then v_old.provenance end;
    perform rowmill.check_kept_columns(v_kept, v_old.name);
    -- A schema of one's own goes on naming its properties as it does.
    if v_outputs is null and (v_new.own_schema is null or v_new.own_schema::text is distinct from v_old.own_schema::text) then
      select array_agg(rowmill.column_name(v_old.target, (o.value ->> 'attnum')::integer) order by o.place) into strict v_outputs
      from jsonb_array_elements(v_old.outputs) with ordinality as o(value, place);
    end if;
    if v_provenance is null then
      select coalesce(jsonb_object_agg(rowmill.column_name(v_old.target, (o.value ->> 'attnum')::integer), o.value -> 'value'), '{}')
      into strict v_provenance
      from jsonb_array_elements(v_old.provenance) as o(value);
    end if;
    v_new := rowmill.check_definition(v_new, v_outputs, v_provenance);
    if rowmill.version_fields(v_new)::text <> rowmill.version_fields(v_old)::text then
      insert into rowmill.pipeline_versions (pipeline_id, version, definition)
      values (v_old.id, v_old.version, rowmill.version_fields(v_old));
      v_new.version := v_old.version + 1;
    end if;
  end if;

  update rowmill.pipelines as p
  set
    version = v_new.version, source_name = v_new.source_name, inputs = v_new.inputs, outputs = v_new.outputs, provenance = v_new.provenance,
    filter = v_new.filter, filter_columns = v_new.filter_columns, instructions = v_new.instructions, prompt = v_new.prompt,
    placeholder_style = v_new.placeholder_style, model = v_new.model, endpoint = v_new.endpoint, format = v_new.format,
    params = v_new.params, response_schema = v_new.response_schema, own_schema = v_new.own_schema,
    chunk_size = v_new.chunk_size, flush_after = v_new.flush_after, max_attempts = v_new.max_attempts,
    budget_usd = v_new.budget_usd, daily_budget_usd = v_new.daily_budget_usd
  where p.id = v_old.id;
  if v_new.version > v_old.version then
    perform rowmill.try_definition(v_old.id);
  end if;
  if v_new.chunk_size <> v_old.chunk_size then
    perform rowmill.write_trigger_functions(v_old.id);
  end if;
  if rowmill.watched_columns(v_new) <> rowmill.watched_columns(v_old) then
    perform rowmill.attach_triggers(v_old.id, anew => true);
  end if;
  return v_new.version;
end;
$$;
comment on function rowmill.alter_pipeline is
   'Changes a pipeline; returns the version that now holds. What is asked or filled makes a new version: rows are sent under it from the commit on, batches that are under way end under their own, and rows that are enriched stay as they are until re_enrich. Sizes, attempts and budgets make none. The name, the source and the target cannot be altered: drop the pipeline and create it again. Raises RM101, RM102, RM106 to RM109, RM111, RM114, RM201 (a table is gone), and then changes nothing.';
revoke all on function rowmill.alter_pipeline from public;
