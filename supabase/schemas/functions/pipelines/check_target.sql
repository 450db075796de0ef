-- API: internal
create or replace function rowmill.check_target(
  source regclass,
  keys smallint[], -- the columns of the source's key
  target regclass
)
returns smallint[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_relation record;
  v_key smallint;
  v_columns smallint[] := '{}'::smallint[];
begin
  if check_target.target = check_target.source then
    return check_target.keys;
  end if;
  select c.relkind, c.relpersistence, n.nspname into v_relation
  from pg_class as c
  join pg_namespace as n on n.oid = c.relnamespace
  where c.oid = check_target.target;
  if not found or v_relation.relkind not in ('r', 'p')
    or v_relation.nspname in ('rowmill', 'pg_catalog', 'information_schema') then
    raise exception using errcode = 'RM113', message = format('%s is no target', check_target.target),
      detail = 'Answers are written to an ordinary or partitioned table of your own.',
      hint = 'Make one: ' || rowmill.target_statement(check_target.source, check_target.keys);
  end if;
  if v_relation.relpersistence = 't' then
    raise exception using errcode = 'RM113', message = format('%s is a temporary table', check_target.target),
      detail = 'It is gone when the session ends, and workers are other sessions.',
      hint = 'Make one that stays: ' || rowmill.target_statement(check_target.source, check_target.keys);
  end if;

  foreach v_key in array check_target.keys loop
    v_columns := v_columns || rowmill.target_key_column(check_target.source, check_target.keys, v_key, check_target.target);
  end loop;
  if not rowmill.has_unique_index(check_target.target, v_columns) then
    raise exception using errcode = 'RM113',
      message = format('%s has no unique index over exactly its key columns', check_target.target),
      detail = 'An answer is inserted, or updates what its key finds; a partial, deferrable or expression index cannot find it.',
      hint = format('alter table %s add %s (%s);', check_target.target,
        case
          when exists (select from pg_index as i where i.indrelid = check_target.target and i.indisprimary) then 'unique'
          else 'primary key'
        end,
        (
          select string_agg(quote_ident(rowmill.column_name(check_target.target, k.attnum)), ', ' order by k.place)
          from unnest(v_columns) with ordinality as k(attnum, place)
        ));
  end if;

  perform rowmill.check_owner_rights(check_target.target, is_target => true);
  return v_columns;
end;
$$;
comment on function rowmill.check_target is
  'The columns of a target that hold the source''s key, in the key''s order. Raises RM113 (no fit target), RM105 (no rights).';
revoke all on function rowmill.check_target from public;
