-- API: internal
create or replace function rowmill.trigger_faults(pipeline rowmill.pipelines)
returns table (found text, remedy text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_missing text := rowmill.missing_triggers(trigger_faults.pipeline);
begin
  if v_missing is not null then
    return query select
      format('"%s" lacks %s, so that rows are not queued', (trigger_faults.pipeline).name, v_missing),
      format(
        'select rowmill.write_trigger_functions(%1$s); select rowmill.attach_triggers(%1$s); '
        'select rowmill.backfill(%2$L, only_missing => true);',
        (trigger_faults.pipeline).id, (trigger_faults.pipeline).name
      );
  end if;
  return query
  select
    format('%s on %s is disabled, so that rows are not queued', d.name, d.relation),
    format('alter table %s enable trigger %I;', d.relation, d.name)
  from (
    select t.tgrelid::regclass as relation, t.tgname as name
    from pg_trigger as t
    where t.tgrelid in (
      select (trigger_faults.pipeline).source union select p.relid from pg_partition_tree((trigger_faults.pipeline).source) as p
    )
    and t.tgname like format('rowmill\_%s\_%%', (trigger_faults.pipeline).id) and t.tgenabled in ('D', 'R')
  ) as d
  order by d.relation, d.name;
end;
$$;
comment on function rowmill.trigger_faults is
  'What is missing or disabled of a pipeline''s triggers, and what puts it right.';
revoke all on function rowmill.trigger_faults from public;
