-- API: internal
create or replace function rowmill.examine_triggers()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_missing text;
  v_disabled record;
  v_errors record;
  v_found text[] := '{}'::text[];
  v_remedies text[] := '{}'::text[];
  v_notes text[] := '{}'::text[];
begin
  for v_pipeline in
    select p.* from rowmill.pipelines as p join pg_class as c on c.oid = p.source where p.state <> 'dropped' order by p.id
  loop
    select string_agg(distinct format('%s on %s', w.name, w.relation), ', ') into v_missing
    from (
      select format('rowmill_%s_update', v_pipeline.id) as name, v_pipeline.source as relation
      union all select format('rowmill_%s_insert', v_pipeline.id), v_pipeline.source
      -- Rows that are inserted straight into a partition fire its own statement triggers.
      union all select format('rowmill_%s_insert', v_pipeline.id), t.relid from pg_partition_tree(v_pipeline.source) as t
    ) as w
    where not exists (select from pg_trigger as t where t.tgrelid = w.relation and t.tgname = w.name);
    if v_missing is not null then
      v_found := v_found || format('"%s" lacks %s, so that rows are not queued', v_pipeline.name, v_missing);
      v_remedies := v_remedies
        || format('select rowmill.write_trigger_functions(%1$s); select rowmill.attach_triggers(%1$s); select rowmill.backfill(%2$L, only_missing => true);', v_pipeline.id, v_pipeline.name);
    end if;
    for v_disabled in
      select t.tgrelid::regclass as relation, t.tgname as name
      from pg_trigger as t
      where t.tgrelid in (select v_pipeline.source union select p.relid from pg_partition_tree(v_pipeline.source) as p)
      and t.tgname like format('rowmill\_%s\_%%', v_pipeline.id) and t.tgenabled in ('D', 'R')
      order by 1, 2
    loop
      v_found := v_found || format('%s on %s is disabled, so that rows are not queued', v_disabled.name, v_disabled.relation);
      v_remedies := v_remedies || format('alter table %s enable trigger %I;', v_disabled.relation, v_disabled.name);
    end loop;

    select count(*) as times, bool_or(e.keys_lost) as are_lost, (array_agg(e.message order by e.keys_lost desc, e.happened_at desc))[1] as message
    into v_errors
    from (
      select e.message, e.keys_lost, e.happened_at from rowmill.trigger_errors as e
      where e.pipeline_id = v_pipeline.id order by e.happened_at desc limit 1000
    ) as e;
    if v_errors.are_lost then
      v_found := v_found || format('rows of "%s" could not be queued: %s', v_pipeline.name, v_errors.message);
      v_remedies := v_remedies || format('select rowmill.backfill(%L, only_missing => true);', v_pipeline.name);
    elsif v_errors.times > 0 then
      v_notes := v_notes || format('"%s": %s (%s times; the tick makes it good)', v_pipeline.name, v_errors.message, v_errors.times);
    end if;
  end loop;

  if exists (
    select from pg_db_role_setting as s cross join lateral unnest(s.setconfig) as c(setting)
    where s.setdatabase in (0, (select d.oid from pg_database as d where d.datname = current_database()))
    and c.setting = 'session_replication_role=replica'
  ) or current_setting('session_replication_role') = 'replica' then
    v_found := v_found || 'session_replication_role is replica for some role or database, whose inserts fire no triggers'::text;
    v_remedies := v_remedies || 'alter role … reset session_replication_role; or alter database … reset session_replication_role;'::text;
  end if;
  return case
    when cardinality(v_found) > 0 then row('fault', rowmill.first_few(v_found), array_to_string(v_remedies, ' '))::rowmill.finding
    when cardinality(v_notes) > 0 then row('note', rowmill.first_few(v_notes), 'Should it stay for more than a minute, look at pipelines.')::rowmill.finding
    else row('ok', 'in place and enabled', null)::rowmill.finding
  end;
end;
$$;
comment on function rowmill.examine_triggers is
  'Whether every pipeline''s triggers are there and enabled, on its table and the partitions, and what went wrong in them.';
revoke all on function rowmill.examine_triggers from public;
