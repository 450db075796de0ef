-- API: internal
create or replace function rowmill.clamped(
  value numeric,
  most numeric default 1e15 -- 9,000 of these can be added up in a bigint
)
returns bigint
language plpgsql -- unlike one in SQL, it keeps its plan from call to call
immutable
strict
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  -- NaN is above every number to least() and greatest().
  return case when clamped.value = 'NaN' then 0 else trunc(least(greatest(clamped.value, 0), clamped.most)) end;
end;
$$;
comment on function rowmill.clamped is
  'A count that somebody else made up, as one that can be stored and added up: at least 0, at most "most", without a fraction; NaN is 0.';
revoke all on function rowmill.clamped from public;
