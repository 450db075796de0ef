-- API: internal
create or replace function rowmill.has_unique_index(target regclass, columns smallint[])
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select
    from pg_index as i
    where i.indrelid = has_unique_index.target
    and i.indisunique and i.indimmediate and i.indisvalid and i.indpred is null and i.indexprs is null
    and i.indnkeyatts = cardinality(has_unique_index.columns)
    and (
      -- int2vector counts from 0, and columns that are merely included come last
      select bool_and(k.attnum = any (has_unique_index.columns))
      from unnest(i.indkey::smallint[]) with ordinality as k(attnum, place)
      where k.place <= i.indnkeyatts
    )
  );
$$;
comment on function rowmill.has_unique_index is
  'Whether an upsert by exactly these columns is possible.';
revoke all on function rowmill.has_unique_index from public;
