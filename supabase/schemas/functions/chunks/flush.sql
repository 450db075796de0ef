-- API: public
create or replace function rowmill.flush(pipeline text)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_chunk_id bigint;
  v_formed integer := 0;
begin
  if v_pipeline.state <> 'active' then
    raise exception using errcode = 'RM112', message = format('pipeline "%s" is %s', v_pipeline.name, v_pipeline.state),
      detail = coalesce(v_pipeline.state_reason, 'It was paused by hand.'),
      hint = format('select rowmill.resume_pipeline(%L);', v_pipeline.name);
  end if;
  loop
    v_chunk_id := rowmill.form_chunk(v_pipeline.id, true);
    exit when v_chunk_id is null;
    begin
      perform rowmill.post_chunk(v_chunk_id);
    exception when others then
      raise warning 'chunk % could not be posted, a worker fetches it: %', v_chunk_id, sqlerrm;
    end;
    v_formed := v_formed + 1;
  end loop;
  return v_formed;
end;
$$;
comment on function rowmill.flush is
  'Forms all pending keys into chunks now, an incomplete one too, without waiting for flush_after; returns how many chunks. '
  'Raises RM111, RM112 (not active).';
revoke all on function rowmill.flush from public;
