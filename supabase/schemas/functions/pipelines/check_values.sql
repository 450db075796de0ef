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
