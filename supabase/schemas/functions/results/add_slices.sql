-- API: internal
create or replace function rowmill.add_slices(one jsonb, other jsonb)
returns jsonb
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_object_agg(k.key, case jsonb_typeof(k.value)
    when 'array' then k.value || (add_slices.other -> k.key)
    else to_jsonb(k.value::integer + (add_slices.other -> k.key)::integer)
  end)
  from jsonb_each(add_slices.one) as k(key, value);
$$;
comment on function rowmill.add_slices is 'The result of write_slice for two parts of a slice: numbers added, lists joined.';
revoke all on function rowmill.add_slices from public;
