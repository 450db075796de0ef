-- API: internal
create or replace function rowmill.examine_triggers()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_fault record;
  v_errors record;
  v_lost record;
  v_found text[] := '{}'::text[];
  v_remedies text[] := '{}'::text[];
  v_notes text[] := '{}'::text[];
begin
  for v_pipeline in
    select p.* from rowmill.pipelines as p join pg_class as c on c.oid = p.source where p.state <> 'dropped' order by p.id
  loop
    for v_fault in select f.found, f.remedy from rowmill.trigger_faults(v_pipeline) as f loop
      v_found := v_found || v_fault.found;
      v_remedies := v_remedies || v_fault.remedy;
    end loop;
    v_errors := rowmill.trigger_errors_of(v_pipeline.id);
    v_lost := rowmill.lost_keys_problem(v_pipeline);
    if v_lost.problem is not null then
      v_found := v_found || v_lost.problem;
      v_remedies := v_remedies || v_lost.remedy;
    elsif v_errors.times > 0 then
      v_notes := v_notes || format('"%s": %s (%s times; the tick makes it good)', v_pipeline.name, v_errors.message, v_errors.times);
    end if;
  end loop;
  if rowmill.are_triggers_silenced() then
    v_found := v_found || 'session_replication_role is replica for some role or database, whose inserts fire no triggers'::text;
    v_remedies := v_remedies
      || 'alter role … reset session_replication_role; or alter database … reset session_replication_role;'::text;
  end if;
  return case
    when cardinality(v_found) > 0 then
      row('fault', rowmill.first_few(v_found), array_to_string(v_remedies, ' '))::rowmill.finding
    when cardinality(v_notes) > 0 then
      row('note', rowmill.first_few(v_notes), 'Should it stay for more than a minute, look at pipelines.')::rowmill.finding
    else row('ok', 'in place and enabled', null)::rowmill.finding
  end;
end;
$$;
comment on function rowmill.examine_triggers is
  'Whether every pipeline''s triggers are there and enabled, on its table and the partitions, and what went wrong in them.';
revoke all on function rowmill.examine_triggers from public;
