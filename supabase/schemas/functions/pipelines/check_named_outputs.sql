-- API: internal
create or replace function rowmill.check_named_outputs(
  source regclass, -- the table that is filled
  outputs text[]
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_missing text[];
begin
  if coalesce(cardinality(check_named_outputs.outputs), 0) = 0 then
    raise exception using errcode = 'RM106', message = 'a pipeline needs at least one output column',
      detail = 'outputs is empty.', hint = 'outputs => array[''summary'']';
  end if;

  -- All that are missing at once, so that one statement adds them.
  select array_agg(o.name order by o.place) into v_missing
  from unnest(check_named_outputs.outputs) with ordinality as o(name, place)
  where not exists (
    select from pg_attribute as a
    where a.attrelid = check_named_outputs.source and a.attnum > 0 and not a.attisdropped and lower(a.attname) = lower(o.name)
  );
  if v_missing is not null then
    raise exception using errcode = 'RM101',
      message = format('output %s is not a column of %s',
        (select string_agg(format('"%s"', m.name), ', ') from unnest(v_missing) as m(name)), check_named_outputs.source),
      detail = 'Rowmill fills columns; it does not add them.',
      hint = format('alter table %s %s;', check_named_outputs.source,
        (select string_agg(format('add column %I text', m.name), ', ') from unnest(v_missing) as m(name)));
  end if;
end;
$$;
comment on function rowmill.check_named_outputs is
  'Whether there are outputs, and all of them are columns. Raises RM106 (none is named) or RM101 (with the statement that adds them all).';
revoke all on function rowmill.check_named_outputs from public;
