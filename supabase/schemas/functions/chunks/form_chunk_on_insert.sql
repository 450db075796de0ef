-- API: internal
create or replace function rowmill.form_chunk_on_insert(pipeline_id bigint)
returns void
language plpgsql
security definer -- called from triggers of whoever inserts
set search_path = pg_catalog, pg_temp
as $$
declare
  v_chunk_id bigint;
begin
  -- Under a stricter level, reading the queue could make the user's own commit fail; the tick forms instead.
  if current_setting('transaction_isolation') <> 'read committed' then
    return;
  end if;
  -- In a transaction of several statements, somebody else's keys would wait for its end.
  v_chunk_id := rowmill.form_chunk(form_chunk_on_insert.pipeline_id, false, own_only => now() <> statement_timestamp());
  if v_chunk_id is not null then
    begin
      -- Its number alone: putting the rows into pg_net's queue would cost the user's statement several times
      -- what the insert itself does.
      perform rowmill.post_chunk(v_chunk_id, with_rows => false);
    exception when others then
      -- The chunk stands; the tick posts it, or a worker fetches it.
      perform rowmill.note_trigger_error(form_chunk_on_insert.pipeline_id, 'chunk', sqlstate, sqlerrm);
    end;
  end if;
exception when others then
  -- The keys stand; the tick forms them.
  perform rowmill.note_trigger_error(form_chunk_on_insert.pipeline_id, 'chunk', sqlstate, sqlerrm);
end;
$$;
comment on function rowmill.form_chunk_on_insert is
  'Forms and posts at most one full chunk, from inside a user''s statement. Never raises; what it leaves, the tick takes.';
revoke all on function rowmill.form_chunk_on_insert from public;
