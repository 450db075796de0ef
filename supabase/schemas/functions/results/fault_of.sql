-- API: internal
create or replace function rowmill.fault_of(sqlstate text)
returns text
language sql
immutable
strict
parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select case
    when left(fault_of.sqlstate, 2) in ('08', '25', '40', '53', '55', '57', '58', 'XX') then 'system'
    when left(fault_of.sqlstate, 2) in ('0A', '42') then 'statement'
    else 'row'
  end;
$$;
comment on function rowmill.fault_of is
  'What an error of a write speaks of, by its SQLSTATE. "system": connection, transaction state, deadlock, resources, locks, an '
  'operator, the system; the same write may succeed later. "statement": rights, missing objects, features; mostly every row has '
  'it. "row": data, limits such as the size of an index entry, constraints, whatever a trigger raises under a code of its own.';
revoke all on function rowmill.fault_of from public;
