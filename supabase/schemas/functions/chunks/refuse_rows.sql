-- API: worker
create or replace function rowmill.refuse_rows(chunk_id bigint, worker text, failures jsonb)
returns integer
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline_id bigint;
begin
  select c.pipeline_id into v_pipeline_id
  from rowmill.chunks as c
  where c.id = refuse_rows.chunk_id and c.state = 'accepted' and c.owner = refuse_rows.worker
  for update;
  if not found then
    return 0;
  end if;
  return rowmill.settle_failures(v_pipeline_id, null, (
    select coalesce(jsonb_agg(f.value || jsonb_build_object('c', refuse_rows.chunk_id)), '[]')
    from jsonb_array_elements(refuse_rows.failures) as f(value)
  ));
end;
$$;
comment on function rowmill.refuse_rows is
  'Rows of an accepted chunk, held before, that cannot be sent: [{"n","h","class","code","message","retried","counted"}]. '
  'Returns how many.';
revoke all on function rowmill.refuse_rows from public;
