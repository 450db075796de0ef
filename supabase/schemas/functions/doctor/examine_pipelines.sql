-- API: internal
create or replace function rowmill.examine_pipelines()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_structure text;
  v_verdict text := 'ok';
  v_found text[] := '{}'::text[];
  v_remedies text[] := '{}'::text[];
  v_count integer := 0;
begin
  for v_pipeline in select p.* from rowmill.pipelines as p where p.state <> 'dropped' order by p.id loop
    v_count := v_count + 1;
    v_structure := rowmill.structure_problem(v_pipeline.id);
    if v_structure is not null then
      v_verdict := 'fault';
      v_found := v_found || format('"%s": %s', v_pipeline.name, v_structure);
      v_remedies := v_remedies || case
        when v_structure = rowmill.trust_problem(array[v_pipeline.source, v_pipeline.target], v_pipeline.filter_uses)
          then format('Do what it says about "%s"; it goes on by itself.', v_pipeline.name)
        else format('select rowmill.drop_pipeline(%L); and create it again.', v_pipeline.name)
      end;
    elsif v_pipeline.state = 'paused' then
      v_verdict := case
        when v_pipeline.state_reason is not null and v_verdict <> 'fault' then 'warning'
        when v_verdict = 'ok' then 'note'
        else v_verdict
      end;
      v_found := v_found || format('"%s" is paused: %s', v_pipeline.name, coalesce(v_pipeline.state_reason, 'by hand'));
      v_remedies := v_remedies || format('select rowmill.resume_pipeline(%L);', v_pipeline.name);
    elsif v_pipeline.problem is not null then
      v_verdict := case when v_verdict = 'fault' then 'fault' else 'warning' end;
      v_found := v_found || format('"%s", %s: %s', v_pipeline.name, rowmill.ago(v_pipeline.problem_at), v_pipeline.problem);
      v_remedies := v_remedies || format('Mend what it says about "%s"; it goes on by itself.', v_pipeline.name);
    end if;
  end loop;
  if v_count = 0 then
    return row('note', 'there is none', 'select rowmill.create_pipeline(…), as the README has it.')::rowmill.finding;
  end if;
  if v_verdict = 'ok' then
    return row('ok', format('%s without a problem', v_count), null)::rowmill.finding;
  end if;
  return row(v_verdict, rowmill.first_few(v_found), array_to_string(v_remedies, ' '))::rowmill.finding;
end;
$$;
comment on function rowmill.examine_pipelines is
  'Pipelines that are paused or have a problem.';
revoke all on function rowmill.examine_pipelines from public;
