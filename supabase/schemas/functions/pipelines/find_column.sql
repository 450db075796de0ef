-- API: internal
create or replace function rowmill.find_column(
  source regclass, -- the table, source or target
  wanted text,
  used_as text -- what it is, for the message: placeholder, output …
)
returns pg_catalog.pg_attribute
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_column pg_catalog.pg_attribute;
  v_matches integer;
begin
  select a.* into v_column
  from pg_attribute as a
  where a.attrelid = find_column.source and a.attnum > 0 and not a.attisdropped and a.attname = find_column.wanted;
  if found then
    return v_column;
  end if;

  select count(*) into strict v_matches
  from pg_attribute as a
  where a.attrelid = find_column.source and a.attnum > 0 and not a.attisdropped
  and lower(a.attname) = lower(find_column.wanted);
  if v_matches = 1 then
    select a.* into strict v_column
    from pg_attribute as a
    where a.attrelid = find_column.source and a.attnum > 0 and not a.attisdropped
    and lower(a.attname) = lower(find_column.wanted);
    return v_column;
  end if;

  raise exception using
    errcode = 'RM101',
    message = format('%s "%s" is not a column of %s', find_column.used_as, find_column.wanted, find_column.source),
    detail = case
      when v_matches > 1 then 'Several columns match it without regard to case; write it exactly.'
      else format('Its columns are: %s.', (
        select string_agg(a.attname, ', ' order by a.attnum)
        from pg_attribute as a
        where a.attrelid = find_column.source and a.attnum > 0 and not a.attisdropped
      ))
    end,
    hint = case
      when find_column.used_as = 'output' and v_matches = 0
        then format('Add it first: alter table %s add column %I text;', find_column.source, find_column.wanted)
      else 'Write the name as the table has it.'
    end;
end;
$$;
comment on function rowmill.find_column is
  'A column by its name, exactly or, where exactly one matches, without regard to case. Raises RM101.';
revoke all on function rowmill.find_column from public;
