-- API: internal
create or replace function rowmill.count_or_null(value jsonb, most numeric default 1e15)
returns bigint
language plpgsql -- unlike one in SQL, it keeps its plan from call to call
immutable
strict
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when jsonb_typeof(count_or_null.value) = 'number' then rowmill.clamped(count_or_null.value::numeric, count_or_null.most) end;
end;
$$;
comment on function rowmill.count_or_null is
  'A count out of JSON that somebody else wrote: a number is clamped, anything else is null.';
revoke all on function rowmill.count_or_null from public;
