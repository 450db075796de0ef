-- What a definition is checked for, new or altered: create_pipeline and alter_pipeline share it. Workers need not stop.

-- API: internal
create function rowmill.check_values(definition rowmill.pipelines)
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  v_bad text;
begin
  if coalesce(definition.model, '') = '' then
    raise exception using errcode = 'RM109', message = 'a pipeline needs a model', detail = 'model is empty.', hint = 'model => ''gpt-4o-mini''';
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
  if definition.chunk_size is null or definition.chunk_size not between 1 and 50000 then
    raise exception using errcode = 'RM109', message = 'chunk_size is out of range',
      detail = format('It is %s; a batch holds 50,000 requests at most.', coalesce(definition.chunk_size::text, 'null')), hint = 'Use 1 to 50000; 1000 suits most.';
  end if;
  if definition.max_attempts is null or definition.max_attempts not between 1 and 100 then
    raise exception using errcode = 'RM109', message = 'max_attempts is out of range',
      detail = format('It is %s.', coalesce(definition.max_attempts::text, 'null')), hint = 'Use 1 to 100; 3 suits most.';
  end if;
  if definition.flush_after is null or definition.flush_after < '0'::interval then
    raise exception using errcode = 'RM109', message = 'flush_after is not a duration',
      detail = format('It is %s.', coalesce(definition.flush_after::text, 'null')), hint = 'flush_after => ''1 minute''';
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
  if definition.own_schema is not null and (definition.format = 'text' or json_typeof(definition.own_schema) <> 'object'
    or definition.own_schema ->> 'type' is distinct from 'object' or coalesce(json_typeof(definition.own_schema -> 'properties'), '') <> 'object') then
    raise exception using errcode = 'RM109', message = 'output_schema does not fit',
      detail = 'It must be the JSON Schema of an object with properties, and format must be ''json''.',
      hint = '{"type":"object","properties":{"summary":{"type":"string"}},"required":["summary"],"additionalProperties":false}';
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
comment on function rowmill.check_values(rowmill.pipelines) is 'Whether the values of a definition are in range, apart from any table. Raises RM109.';
revoke all on function rowmill.check_values(rowmill.pipelines) from public;

-- API: internal
create function rowmill.prompt_inputs(source regclass, prompt text, placeholder_style text)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  v_placeholder text;
  v_column pg_catalog.pg_attribute;
  v_inputs jsonb := '[]';
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
comment on function rowmill.prompt_inputs(regclass, text, text) is 'The columns that a prompt names, as pipelines.inputs has them. Raises RM101 (no such column), RM109 (none at all).';
revoke all on function rowmill.prompt_inputs(regclass, text, text) from public;

-- API: internal
create function rowmill.check_target(source regclass, keys smallint[], target regclass)
returns smallint[]
language plpgsql
stable
set search_path = ''
as $$
declare
  v_relation record;
  v_key record;
  v_column pg_catalog.pg_attribute;
  v_columns smallint[] := '{}';
  v_owner name;
begin
  if check_target.target = check_target.source then
    return check_target.keys;
  end if;
  select c.relkind, n.nspname into v_relation
  from pg_class as c
  join pg_namespace as n on n.oid = c.relnamespace
  where c.oid = check_target.target;
  if not found or v_relation.relkind not in ('r', 'p') or v_relation.nspname in ('rowmill', 'pg_catalog', 'information_schema') then
    raise exception using errcode = 'RM113', message = format('%s is no target', check_target.target),
      detail = 'Answers are written to an ordinary or partitioned table of your own.',
      hint = 'Make one: ' || rowmill.target_statement(check_target.source, check_target.keys);
  end if;

  for v_key in
    select a.attname, a.atttypid, a.atttypmod
    from unnest(check_target.keys) with ordinality as k(attnum, place)
    join pg_attribute as a on a.attrelid = check_target.source and a.attnum = k.attnum
    order by k.place
  loop
    begin
      v_column := rowmill.find_column(check_target.target, v_key.attname, 'key column');
    exception when sqlstate 'RM101' then
      raise exception using errcode = 'RM113', message = format('%s has no column "%s"', check_target.target, v_key.attname),
        detail = format('It is part of the key of %s, by which an answer finds its row.', check_target.source),
        hint = 'The target needs the key, e.g.: ' || rowmill.target_statement(check_target.source, check_target.keys);
    end;
    -- A column that rounds or cuts would make one key of two.
    if rowmill.base_type(v_column.atttypid) <> rowmill.base_type(v_key.atttypid) or v_column.atttypmod not in (-1, v_key.atttypmod) then
      raise exception using errcode = 'RM113',
        message = format('column "%s" of %s has another type than the key of %s', v_column.attname, check_target.target, check_target.source),
        detail = format('It is %s and should be %s.', format_type(v_column.atttypid, v_column.atttypmod), format_type(v_key.atttypid, v_key.atttypmod)),
        hint = format('alter table %s alter column %I type %s;', check_target.target, v_column.attname, format_type(v_key.atttypid, v_key.atttypmod));
    end if;
    if v_column.attgenerated <> '' or v_column.attidentity = 'a' then
      raise exception using errcode = 'RM113', message = format('column "%s" of %s is generated by Postgres', v_column.attname, check_target.target),
        detail = 'The key of the source is written to it.', hint = 'The target needs the key as a plain column, e.g.: '
          || rowmill.target_statement(check_target.source, check_target.keys);
    end if;
    v_columns := v_columns || v_column.attnum;
  end loop;
  if not rowmill.has_unique_index(check_target.target, v_columns) then
    raise exception using errcode = 'RM113', message = format('%s has no unique index over exactly its key columns', check_target.target),
      detail = 'An answer is inserted, or updates what its key finds; a partial, deferrable or expression index cannot find it.',
      hint = format('alter table %s add %s (%s);', check_target.target,
        case when exists (select from pg_index as i where i.indrelid = check_target.target and i.indisprimary) then 'unique' else 'primary key' end,
        (
          select string_agg(quote_ident(rowmill.column_name(check_target.target, k.attnum)), ', ' order by k.place)
          from unnest(v_columns) with ordinality as k(attnum, place)
        ));
  end if;

  select r.rolname into strict v_owner
  from pg_namespace as n join pg_roles as r on r.oid = n.nspowner
  where n.nspname = 'rowmill';
  if not (
    has_table_privilege(v_owner, check_target.target, 'select')
    and has_table_privilege(v_owner, check_target.target, 'insert')
    and has_table_privilege(v_owner, check_target.target, 'update')
  ) then
    raise exception using errcode = 'RM105',
      message = format('role %s, which owns Rowmill, may not read, insert into and update %s', v_owner, check_target.target),
      detail = 'Answers are written under that role.',
      hint = format('grant select, insert, update on %s to %I;', check_target.target, v_owner);
  end if;
  return v_columns;
end;
$$;
comment on function rowmill.check_target(regclass, smallint[], regclass) is
  'The columns of a target that hold the source''s key. Raises RM113 (no fit target), RM105 (no rights).';
revoke all on function rowmill.check_target(regclass, smallint[], regclass) from public;

-- API: internal
create function rowmill.target_statement(source regclass, keys smallint[])
returns text
language sql
stable
set search_path = ''
as $$
  select format(
    'create table %s (%s, summary text, primary key (%s));',
    (select format('%I.%I', n.nspname, c.relname || '_enriched') from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where c.oid = target_statement.source),
    string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by k.place),
    string_agg(quote_ident(a.attname), ', ' order by k.place)
  )
  from unnest(target_statement.keys) with ordinality as k(attnum, place)
  join pg_attribute as a on a.attrelid = target_statement.source and a.attnum = k.attnum;
$$;
comment on function rowmill.target_statement(regclass, smallint[]) is 'A statement that makes a target for a source, for hints.';
revoke all on function rowmill.target_statement(regclass, smallint[]) from public;

-- API: internal
create function rowmill.check_provenance(definition rowmill.pipelines, provenance jsonb)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  v_given record;
  v_column pg_catalog.pg_attribute;
  v_base oid;
  v_types oid[];
  v_provenance jsonb := '[]';
begin
  if check_provenance.provenance is null or jsonb_typeof(check_provenance.provenance) <> 'object' then
    raise exception using errcode = 'RM109', message = 'provenance is not a JSON object',
      detail = format('It is %s.', coalesce(check_provenance.provenance::text, 'null')), hint = 'provenance => ''{"enriched_at": "$completed_at"}''';
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
    if definition.target = definition.source and definition.inputs @> jsonb_build_array(jsonb_build_object('attnum', v_column.attnum)) then
      raise exception using errcode = 'RM108', message = format('provenance column "%s" is also an input', v_given.key),
        detail = 'Each answer would be an edit that asks again.', hint = 'Name another column.';
    end if;
    v_base := rowmill.base_type(v_column.atttypid);
    if v_base <> all (v_types) then
      raise exception using errcode = 'RM107',
        message = format('column "%s" of type %s cannot take %s', v_given.key, format_type(v_column.atttypid, v_column.atttypmod), v_given.value),
        detail = format('Types that can: %s.', (select string_agg(format_type(t.oid, null), ', ' order by t.place) from unnest(v_types) with ordinality as t(oid, place))),
        hint = format('alter table %s alter column %I type %s;', definition.target, v_column.attname, format_type(v_types[least(2, cardinality(v_types))], null));
    end if;
    v_provenance := v_provenance || jsonb_build_object('name', v_column.attname, 'attnum', v_column.attnum, 'value', v_given.value);
  end loop;
  return v_provenance;
end;
$$;
comment on function rowmill.check_provenance(rowmill.pipelines, jsonb) is
  'The columns that say where an answer came from, by number, from {"column": "$value"}. Raises RM101, RM106, RM107, RM108, RM109.';
revoke all on function rowmill.check_provenance(rowmill.pipelines, jsonb) from public;

drop function rowmill.check_cycle(regclass, jsonb, jsonb);

-- API: internal
create function rowmill.check_cycle(definition rowmill.pipelines)
returns void
language plpgsql
stable
set search_path = ''
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
comment on function rowmill.check_cycle(rowmill.pipelines) is 'Raises RM108 where chained pipelines would form a loop, over however many tables.';
revoke all on function rowmill.check_cycle(rowmill.pipelines) from public;
