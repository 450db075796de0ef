-- A pipeline may write into another table, say where an answer came from, and be changed: what a version of it asked
-- is kept for as long as its batches may end.
-- Workers need not stop.

alter table rowmill.pipelines add column target regclass;
alter table rowmill.pipelines add column target_name text;
alter table rowmill.pipelines add column target_key_columns smallint[];
alter table rowmill.pipelines add column provenance jsonb not null default '[]';
alter table rowmill.pipelines add column placeholder_style text not null default 'braces';
alter table rowmill.pipelines add column own_schema json;
alter table rowmill.pipelines add column budget_usd numeric;
alter table rowmill.pipelines add column daily_budget_usd numeric;
update rowmill.pipelines set target = source, target_name = source_name, target_key_columns = key_columns;
alter table rowmill.pipelines alter column target set not null;
alter table rowmill.pipelines alter column target_name set not null;
alter table rowmill.pipelines alter column target_key_columns set not null;
alter table rowmill.pipelines add constraint pipelines_placeholder_style_is_known check (placeholder_style in ('braces', 'brackets'));
alter table rowmill.pipelines add constraint pipelines_own_schema_is_in_force
  check (own_schema is null or (response_schema is not null and own_schema::text = response_schema::text));
-- NaN is greater than everything
alter table rowmill.pipelines add constraint pipelines_budgets_are_amounts
  check (budget_usd between 0 and 1e15 and daily_budget_usd between 0 and 1e15);
comment on column rowmill.pipelines.target is 'The table that answers are written to; the source itself, or another, which gets an upsert by the key columns.';
comment on column rowmill.pipelines.target_name is 'The target''s name when it was declared.';
comment on column rowmill.pipelines.target_key_columns is 'Numbers of the columns in target that hold the key, in the order of key_columns.';
comment on column rowmill.pipelines.outputs is '[{"name","attnum","encoding"}]: columns of target to fill; name is the property in the answer.';
comment on column rowmill.pipelines.provenance is '[{"name","attnum","value"}]: columns of target that say where an answer came from; value is $batch_id, $model, $completed_at or $version.';
comment on column rowmill.pipelines.placeholder_style is 'How the prompt names columns: braces {{Column}}, brackets [Column].';
comment on column rowmill.pipelines.own_schema is 'The output_schema that was given; null where response_schema is derived from the outputs.';
comment on column rowmill.pipelines.budget_usd is 'What the pipeline may cost in all; null: without limit.';
comment on column rowmill.pipelines.daily_budget_usd is 'What it may cost in a day; null: without limit.';
comment on column rowmill.pipelines.version is 'Counts the definitions; alter_pipeline makes the next one, and keeps this one in pipeline_versions.';

alter table rowmill.chunks add column version integer not null default 1;
comment on column rowmill.chunks.version is 'The pipeline''s version when the chunk was formed. Its rows are asked for under the one that holds when they are read.';

alter table rowmill.backfills add column version_below integer;
comment on column rowmill.backfills.version_below is 'Only rows that were enriched under a lower version than this; null: whatever the version.';

create table rowmill.pipeline_versions (
  pipeline_id bigint not null references rowmill.pipelines (id) on delete cascade,
  version integer not null,
  definition json not null,
  replaced_at timestamptz not null default now(),
  primary key (pipeline_id, version)
);
alter table rowmill.pipeline_versions enable row level security;
comment on table rowmill.pipeline_versions is 'Definitions that alter_pipeline replaced: batches that were sent under one end under it.';
comment on column rowmill.pipeline_versions.definition is 'The columns of pipelines that make a version (rowmill.version_fields), as json: the order of a schema''s properties counts.';

create table rowmill.row_versions (
  pipeline_id bigint not null,
  key jsonb not null,
  version integer not null
);
create unique index row_versions_one_for_each_row on rowmill.row_versions (pipeline_id, md5(key::text));
alter table rowmill.row_versions enable row level security;
comment on table rowmill.row_versions is
  'The version under which a row was last enriched, for pipelines that were altered; a row without an entry is of version 1. An older answer is not written over a newer one.';

-- API: internal
create function rowmill.version_fields(definition rowmill.pipelines)
returns json
language sql
stable
set search_path = ''
as $$
  -- Neither the tables, which cannot be altered, and whose names may be: a regclass is its name in JSON.
  select json_build_object(
    'source_name', definition.source_name,
    'inputs', definition.inputs,
    'outputs', definition.outputs,
    'filter', definition.filter,
    'filter_columns', definition.filter_columns,
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
comment on function rowmill.version_fields(rowmill.pipelines) is 'What makes a version of a pipeline: a change of any of these is a new one.';
revoke all on function rowmill.version_fields(rowmill.pipelines) from public;

-- API: internal
create function rowmill.definition_of(pipeline_id bigint, version integer default null)
returns rowmill.pipelines
language plpgsql
stable
set search_path = ''
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
comment on function rowmill.definition_of(bigint, integer) is
  'A pipeline as it was in a version, or as it is now; state, problem, budgets and sizes are today''s. null where there is none.';
revoke all on function rowmill.definition_of(bigint, integer) from public;
