-- Declaring a pipeline. Workers need not stop.

-- API: public
create function rowmill.create_pipeline(
  name text, -- unique; 1 to 63 letters, digits, "_", "-", "." or blanks
  source regclass, -- the table whose rows are enriched
  instructions text, -- the system message; null: none
  prompt text, -- the user message, with {{Column}} for each input
  outputs text[], -- columns of source to fill
  model text,
  format text default 'json', -- 'text' puts the raw answer into the one output
  output_schema json default null, -- overrides the schema that is derived from the outputs
  filter text default null, -- condition over the row, as after WHERE
  params jsonb default '{}', -- temperature, max_completion_tokens, reasoning_effort …
  endpoint text default '/v1/chat/completions',
  chunk_size integer default 1000, -- rows, 1 to 50000
  flush_after interval default '1 minute', -- how long an incomplete chunk waits for more rows
  max_attempts integer default 3,
  backfill boolean default false -- true queues the rows that are there already
)
returns bigint
language plpgsql
-- invoker: whoever declares a pipeline needs the right to put triggers on the table
set search_path = ''
as $$
declare
  v_keys smallint[];
  v_inputs jsonb := '[]';
  v_outputs jsonb;
  v_placeholder text;
  v_column pg_catalog.pg_attribute;
  v_schema json;
  v_filter text := nullif(btrim(filter), '');
  v_filter_columns jsonb;
  v_id bigint;
  v_parts rowmill.source_parts;
  v_bad text;
begin
  if create_pipeline.name is null or create_pipeline.name !~ '^[A-Za-z0-9_][A-Za-z0-9_. -]{0,62}$' then
    raise exception using errcode = 'RM109', message = 'the name does not fit',
      detail = format('name is %L.', create_pipeline.name),
      hint = 'Use 1 to 63 letters, digits, "_", "-", "." or blanks, e.g. name => ''movies''.';
  end if;
  if exists (select from rowmill.pipelines as p where p.name = create_pipeline.name and p.state <> 'dropped') then
    raise exception using errcode = 'RM110', message = format('pipeline "%s" exists already', create_pipeline.name),
      detail = 'Names are unique.', hint = format('Choose another, or first: select rowmill.drop_pipeline(%L);', create_pipeline.name);
  end if;
  v_keys := rowmill.check_source(create_pipeline.source);

  if coalesce(create_pipeline.model, '') = '' then
    raise exception using errcode = 'RM109', message = 'a pipeline needs a model', detail = 'model is empty.', hint = 'model => ''gpt-4o-mini''';
  end if;
  if create_pipeline.format is null or create_pipeline.format not in ('json', 'text') then
    raise exception using errcode = 'RM109', message = format('format "%s" is unknown', create_pipeline.format),
      detail = 'It says how an answer becomes columns.', hint = 'Use ''json'' or ''text''.';
  end if;
  if create_pipeline.endpoint is null or create_pipeline.endpoint not in ('/v1/chat/completions', '/v1/responses') then
    raise exception using errcode = 'RM109', message = format('endpoint "%s" is unknown', create_pipeline.endpoint),
      detail = 'It is the provider''s route for each request.', hint = 'Use ''/v1/chat/completions'' or ''/v1/responses''.';
  end if;
  if create_pipeline.chunk_size is null or create_pipeline.chunk_size not between 1 and 50000 then
    raise exception using errcode = 'RM109', message = 'chunk_size is out of range',
      detail = format('It is %s; a batch holds 50,000 requests at most.', coalesce(create_pipeline.chunk_size::text, 'null')), hint = 'Use 1 to 50000; 1000 suits most.';
  end if;
  if create_pipeline.max_attempts is null or create_pipeline.max_attempts not between 1 and 100 then
    raise exception using errcode = 'RM109', message = 'max_attempts is out of range',
      detail = format('It is %s.', coalesce(create_pipeline.max_attempts::text, 'null')), hint = 'Use 1 to 100; 3 suits most.';
  end if;
  if create_pipeline.flush_after is null or create_pipeline.flush_after < '0'::interval then
    raise exception using errcode = 'RM109', message = 'flush_after is not a duration',
      detail = format('It is %s.', coalesce(create_pipeline.flush_after::text, 'null')), hint = 'flush_after => ''1 minute''';
  end if;
  if create_pipeline.params is null or jsonb_typeof(create_pipeline.params) <> 'object' then
    raise exception using errcode = 'RM109', message = 'params is not a JSON object',
      detail = format('It is %s.', coalesce(create_pipeline.params::text, 'null')), hint = 'params => ''{"temperature": 0}''';
  end if;
  select string_agg(k.key, ', ') into v_bad
  from jsonb_object_keys(create_pipeline.params) as k(key)
  where k.key in ('model', 'messages', 'input', 'instructions', 'response_format', 'stream', 'n', 'store', 'background', 'tools');
  if v_bad is not null then
    raise exception using errcode = 'RM109', message = format('params may not set: %s', v_bad),
      detail = 'Rowmill writes these itself, or cannot read an answer that is asked for so.', hint = 'Take them out of params.';
  end if;

  for v_placeholder in
    select btrim(m.match[1], E' \t\n\r')
    from regexp_matches(coalesce(create_pipeline.prompt, ''), '\{\{([^{}]+)\}\}', 'g') as m(match)
  loop
    v_column := rowmill.find_column(create_pipeline.source, v_placeholder, 'placeholder');
    if not v_inputs @> jsonb_build_array(jsonb_build_object('attnum', v_column.attnum)) then
      v_inputs := v_inputs || jsonb_build_object('name', v_column.attname, 'attnum', v_column.attnum);
    end if;
  end loop;
  if v_inputs = '[]' then
    raise exception using errcode = 'RM109', message = 'the prompt names no column',
      detail = 'Every row would get the same answer, and each would be paid for.', hint = 'Write columns as {{Column}}, e.g. prompt => ''Title: {{title}}''.';
  end if;

  if create_pipeline.output_schema is not null and (create_pipeline.format = 'text' or json_typeof(create_pipeline.output_schema) <> 'object'
    or create_pipeline.output_schema ->> 'type' is distinct from 'object' or coalesce(json_typeof(create_pipeline.output_schema -> 'properties'), '') <> 'object') then
    raise exception using errcode = 'RM109', message = 'output_schema does not fit',
      detail = 'It must be the JSON Schema of an object with properties, and format must be ''json''.',
      hint = '{"type":"object","properties":{"summary":{"type":"string"}},"required":["summary"],"additionalProperties":false}';
  end if;
  v_outputs := rowmill.check_outputs(create_pipeline.source, create_pipeline.outputs, v_keys, create_pipeline.format, create_pipeline.output_schema);
  select string_agg(o.value ->> 'name', ', ') into v_bad
  from jsonb_array_elements(v_outputs) as o
  join jsonb_array_elements(v_inputs) as i on i.value -> 'attnum' = o.value -> 'attnum';
  if v_bad is not null then
    raise exception using errcode = 'RM108', message = format('output "%s" is also an input', v_bad),
      detail = 'Each answer would be an edit that asks again.', hint = 'Fill another column.';
  end if;
  if create_pipeline.output_schema is not null then
    select string_agg(o.value ->> 'name', ', ') into v_bad
    from jsonb_array_elements(v_outputs) as o
    where create_pipeline.output_schema -> 'properties' -> (o.value ->> 'name') is null;
    if v_bad is not null then
      raise exception using errcode = 'RM109', message = format('output_schema has no property for: %s', v_bad),
        detail = 'A column is filled from the property of its name.', hint = 'Add the property, or take the column out of outputs.';
    end if;
  end if;

  if create_pipeline.format = 'json' then
    v_schema := coalesce(create_pipeline.output_schema, rowmill.answer_schema(
      create_pipeline.source,
      array(select (o.value ->> 'attnum')::smallint from jsonb_array_elements(v_outputs) with ordinality as o(value, place) order by o.place)
    ));
  end if;

  v_filter_columns := rowmill.filter_columns_of(create_pipeline.source, v_filter);
  perform rowmill.check_cycle(
    create_pipeline.source,
    v_inputs || (
      select coalesce(jsonb_agg(f.value), '[]')
      from jsonb_array_elements(v_filter_columns) as f
      where not v_outputs @> jsonb_build_array(jsonb_build_object('attnum', f.value -> 'attnum'))
    ),
    v_outputs
  );
  insert into rowmill.pipelines (
    name, source, source_name, key_columns, inputs, outputs, filter, filter_columns, instructions, prompt, model, endpoint,
    format, params, response_schema, chunk_size, flush_after, max_attempts
  )
  select
    create_pipeline.name, create_pipeline.source, c.relname, v_keys, v_inputs, v_outputs, v_filter, v_filter_columns,
    create_pipeline.instructions, create_pipeline.prompt, create_pipeline.model, create_pipeline.endpoint,
    create_pipeline.format, create_pipeline.params, v_schema, create_pipeline.chunk_size, create_pipeline.flush_after, create_pipeline.max_attempts
  from pg_class as c
  where c.oid = create_pipeline.source
  returning id into strict v_id;

  -- The pieces are put together and planned once here, so that what cannot run fails now and not at night.
  v_parts := rowmill.source_parts_of(v_id);
  begin
    execute format('select %s, %s from (select null::jsonb as key) as k join %s as s on %s order by %s limit 0',
      v_parts.key_value, v_parts.hash, v_parts.relation, v_parts.key_match, v_parts.key_list);
  exception when others then
    raise exception using errcode = 'RM104', message = format('the rows of %s cannot be found by their primary key', create_pipeline.source),
      detail = sqlerrm, hint = 'Use a key of numbers, text, uuid, dates or the like.';
  end;
  begin
    execute format('select from %s as s where %s limit 0', v_parts.relation, v_parts.selected);
  exception when others then
    raise exception using errcode = 'RM102', message = format('the filter is not a condition over %s', create_pipeline.source),
      detail = format('%s: %s', v_filter, sqlerrm),
      hint = 'Write it as after WHERE, e.g. ''description is not null''; name columns alone or with their table, without its schema.';
  end;
  perform rowmill.write_trigger_functions(v_id);
  perform rowmill.attach_triggers(v_id);
  if create_pipeline.backfill then
    perform rowmill.backfill(create_pipeline.name);
  end if;
  return v_id;
end;
$$;
comment on function rowmill.create_pipeline(text, regclass, text, text, text[], text, text, json, text, jsonb, text, integer, interval, integer, boolean) is
  'Declares a pipeline and puts its triggers on the table; returns its id. From the next commit on, inserted and edited rows are queued. Refuses every mistake with message, detail and hint (RM101 to RM110), and then leaves nothing behind.';
revoke all on function rowmill.create_pipeline(text, regclass, text, text, text[], text, text, json, text, jsonb, text, integer, interval, integer, boolean) from public;
