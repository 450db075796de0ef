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
