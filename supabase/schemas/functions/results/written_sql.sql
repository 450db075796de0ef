-- API: internal
create or replace function rowmill.written_sql(parts rowmill.source_parts)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when (parts).target is null then format(
      $sql$written as (
        update %1$s as s
        set %2$s
        from taken as k
        where %3$s and %4$s operator(pg_catalog.=) k.hash
        returning k.key, k.hash
      )$sql$,
      (parts).relation, (parts).set_list, (parts).key_match, (parts).hash
    )
    -- The source's rows are locked, in one order for all sessions: an edit on its way is waited for and looked at.
    else format(
      $sql$written as (
        select k.*, %5$s
        from taken as k
        join %1$s as s on %2$s
        where %3$s operator(pg_catalog.=) k.hash
        order by pg_catalog.md5(k.key::pg_catalog.text) using operator(pg_catalog.<)
        for share of s
      ), put as (
        insert into %4$s as f (%6$s)
        select %7$s from written as w
        on conflict (%8$s) do update set %9$s
        returning 1
      )$sql$,
      (parts).relation, (parts).key_match, (parts).hash, (parts).target, (parts).key_columns,
      (parts).target_columns, (parts).target_values, (parts).target_keys, (parts).excluded_list
    )
  end;
$$;
comment on function rowmill.written_sql is
  'The part of slice_sql that writes the outputs over the very inputs that they were computed from, in the source or in its target.';
revoke all on function rowmill.written_sql from public;
