-- API: internal
create or replace function rowmill.forget_old_failures()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline record;
begin
  for v_pipeline in
    select p.id
    from rowmill.pipelines as p
    where p.state <> 'dropped' and exists (select from rowmill.failures as f where f.pipeline_id = p.id)
    order by p.id
  loop
    begin
      perform rowmill.forget_failures(v_pipeline.id, 1000);
    exception when others then
      null; -- its table is gone or locked; what is wrong with it is said elsewhere
    end;
  end loop;
end;
$$;
comment on function rowmill.forget_old_failures is
  'forget_failures() for every pipeline, a slice each; one that cannot be done holds up no other.';
revoke all on function rowmill.forget_old_failures from public;
