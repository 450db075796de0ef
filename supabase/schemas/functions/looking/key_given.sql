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
