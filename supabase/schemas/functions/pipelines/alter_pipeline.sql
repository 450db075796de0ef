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
