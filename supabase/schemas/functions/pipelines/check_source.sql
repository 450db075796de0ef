-- API: internal
create or replace function rowmill.check_source(source regclass)
returns smallint[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_relation record;
  v_key smallint[];
  v_unfit text;
begin
  select c.relkind, c.relpersistence, n.nspname into v_relation
  from pg_class as c
  join pg_namespace as n on n.oid = c.relnamespace
  where c.oid = check_source.source;
  if check_source.source is null or not found then
    raise exception using errcode = 'RM103', message = 'the source is not a table',
      detail = format('source is %s.', coalesce(check_source.source::text, 'null')),
      hint = 'Name a table, e.g. source => ''public.films''.';
  end if;
  if v_relation.relkind not in ('r', 'p') then
    raise exception using errcode = 'RM103',
      message = format('%s is not a table', check_source.source),
      detail = format('It is a %s; triggers with keys need a table.', case v_relation.relkind
        when 'v' then 'view' when 'm' then 'materialized view' when 'f' then 'foreign table' else 'relation of another kind' end),
      hint = 'Name the table that the rows are inserted into.';
  end if;
  if v_relation.relpersistence = 't' then
    raise exception using errcode = 'RM103',
      message = format('%s is a temporary table', check_source.source),
      detail = 'It is gone when the session ends, and workers are other sessions.',
      hint = 'Make it an ordinary table, and name that.';
  end if;
  if v_relation.nspname in ('rowmill', 'pg_catalog', 'information_schema') then
    raise exception using errcode = 'RM103',
      message = format('%s belongs to the system', check_source.source),
      detail = 'A pipeline over it would feed on its own work.', hint = 'Name a table of your own.';
  end if;

  select i.indkey::smallint[] into v_key
  from pg_index as i
  where i.indrelid = check_source.source and i.indisprimary;
  if v_key is null then
    raise exception using errcode = 'RM104',
      message = format('%s has no primary key', check_source.source),
      detail = 'An answer finds its row by the primary key.',
      hint = format('Add one: alter table %s add column id bigint generated always as identity primary key;', check_source.source);
  end if;
  -- int2vector counts from 0
  v_key := array(select k.attnum from unnest(v_key) with ordinality as k(attnum, place) order by k.place);

  select string_agg(format('%s %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ') into v_unfit
  from pg_attribute as a
  join pg_type as t on t.oid = rowmill.base_type(a.atttypid)
  where a.attrelid = check_source.source and a.attnum = any (v_key)
  and (t.typcategory in ('A', 'C') or t.oid in ('json'::regtype, 'jsonb'::regtype));
  if v_unfit is not null then
    raise exception using errcode = 'RM104',
      message = format('the primary key of %s has a type that cannot travel as a key', check_source.source),
      detail = format('Arrays, composites and documents cannot: %s.', v_unfit),
      hint = 'Use a key of numbers, text, uuid, dates or the like.';
  end if;

  perform rowmill.check_owner_rights(check_source.source, is_target => false);
  return v_key;
end;
$$;
comment on function rowmill.check_source is
  'The key columns of a table fit for a pipeline, in the key''s order. Raises RM103 (no table of the caller''s own that stays), '
  'RM104 (no usable key), RM105 (no rights).';
revoke all on function rowmill.check_source from public;
