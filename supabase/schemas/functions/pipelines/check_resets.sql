-- API: internal
create or replace function rowmill.check_resets(
  given jsonb, -- alter_pipeline's parameters by name; null where one is not given
  reset text[] -- names of create_pipeline's parameters
)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_known text[] := array[
    'instructions', 'format', 'output_schema', 'filter', 'params', 'endpoint', 'provenance', 'placeholder_style',
    'chunk_size', 'flush_after', 'max_attempts', 'budget_usd', 'daily_budget_usd'
  ];
  v_bad text;
begin
  select string_agg(coalesce(r.name, 'null'), ', ') into v_bad
  from unnest(check_resets.reset) as r(name)
  where r.name is null or r.name <> all (v_known);
  if v_bad is not null then
    raise exception using errcode = 'RM109', message = format('reset names what has no default: %s', v_bad),
      detail = 'It takes parameters back to what create_pipeline gives them.',
      hint = format('There are: %s.', array_to_string(v_known, ', '));
  end if;
  select string_agg(r.name, ', ') into v_bad
  from unnest(check_resets.reset) as r(name)
  where check_resets.given -> r.name <> 'null';
  if v_bad is not null then
    raise exception using errcode = 'RM109', message = format('given and reset at once: %s', v_bad),
      detail = 'One of both can hold.', hint = 'Leave one of them out.';
  end if;
end;
$$;
comment on function rowmill.check_resets is
  'Whether what is to be reset can be. Raises RM109.';
revoke all on function rowmill.check_resets from public;
