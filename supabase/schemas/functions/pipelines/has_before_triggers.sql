-- API: internal
create or replace function rowmill.has_before_triggers(source regclass)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select
    from pg_trigger as t
    where t.tgrelid in (select has_before_triggers.source union select p.relid from pg_partition_tree(has_before_triggers.source) as p)
    and not t.tgisinternal
    and t.tgname not like 'rowmill\_%'
    and (t.tgtype & 1) = 1 -- for each row
    and (t.tgtype & 2) = 2 -- before
    and (t.tgtype & 16) = 16 -- update
  );
$$;
comment on function rowmill.has_before_triggers is
  'Whether a BEFORE trigger may change columns that no UPDATE names: "update of" would not see such an edit.';
revoke all on function rowmill.has_before_triggers from public;
