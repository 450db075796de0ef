-- API: internal
create or replace function rowmill.triggers_are_behind(pipeline_id bigint)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select
    from rowmill.pipelines as p
    join pg_class as c on c.oid = p.source
    where p.id = triggers_are_behind.pipeline_id
    and (
      c.relkind = 'p' and exists (
        select
        from pg_partition_tree(p.source) as t
        where not exists (select from pg_trigger as g where g.tgrelid = t.relid and g.tgname = format('rowmill_%s_insert', p.id))
      )
      or exists (
        select from pg_trigger as g
        where g.tgrelid = p.source and g.tgname = format('rowmill_%s_update', p.id) and g.tgattr::text <> ''
      ) and rowmill.has_before_triggers(p.source)
    )
  );
$$;
comment on function rowmill.triggers_are_behind is
  'Whether a partition or a BEFORE trigger came since a pipeline''s triggers were made.';
revoke all on function rowmill.triggers_are_behind from public;
