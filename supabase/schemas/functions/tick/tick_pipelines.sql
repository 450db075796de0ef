-- API: internal
create or replace function rowmill.tick_pipelines(max_chunks integer)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline record;
  v_counts jsonb;
  v_queued integer := 0;
  v_formed integer := 0;
  v_posted integer := 0;
  v_more boolean := false;
  v_has_attached boolean := false;
begin
  for v_pipeline in select p.id, p.problem_by from rowmill.pipelines_to_tick() as p loop
    begin
      v_counts := rowmill.tick_pipeline(v_pipeline.id, tick_pipelines.max_chunks);
      v_queued := v_queued + (v_counts ->> 'queued')::integer;
      v_formed := v_formed + (v_counts ->> 'formed')::integer;
      v_posted := v_posted + (v_counts ->> 'posted')::integer;
      v_more := v_more or (v_counts ->> 'more')::boolean;
      if v_pipeline.problem_by = 'tick' or v_counts ->> 'problem' is not null then
        perform rowmill.note_tick_problem(v_pipeline.id, v_counts ->> 'problem');
      end if;
      v_has_attached := coalesce((v_counts ->> 'has_attached')::boolean, false);
      exit when v_has_attached;
      delete from rowmill.trigger_errors as e where e.pipeline_id = v_pipeline.id and e.what = 'chunk';
    exception when others then
      -- One broken pipeline holds up no other.
      perform rowmill.note_tick_problem(v_pipeline.id, sqlerrm);
    end;
  end loop;
  return jsonb_build_object(
    'queued', v_queued, 'formed', v_formed, 'posted', v_posted, 'more', v_more, 'has_attached', v_has_attached
  );
end;
$$;
comment on function rowmill.tick_pipelines is
  'Takes every pipeline forward, and notes what is wrong with one. has_attached: a table is locked, the pipelines after it were not '
  'reached, and the caller must end its transaction.';
revoke all on function rowmill.tick_pipelines from public;
