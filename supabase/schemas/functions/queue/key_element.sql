-- API: internal
create or replace function rowmill.key_element(rows_name text, column_name name, type oid)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select format(
    -- jsonb_build_array would use a cast to json that the type's owner made, within the trigger of everybody who inserts. (Types
    -- that Postgres brings along have numbers below 16384.)
    case when rowmill.base_type(key_element.type) < 16384 then '%1$I.%2$I' else 'pg_catalog.format(''%%s'', %1$I.%2$I)' end,
    key_element.rows_name, key_element.column_name
  );
$$;
comment on function rowmill.key_element is 'The expression that gives a column of a key as its JSON has it: a number, a boolean or a text.';
revoke all on function rowmill.key_element from public;
