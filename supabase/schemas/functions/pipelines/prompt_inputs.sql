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
