-- API: worker
create or replace function rowmill.close_chunk(chunk_id bigint, worker text)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
begin
  update rowmill.chunks as c
  set state = 'done', owner = null, lease_until = null, keys = null, ended_at = now()
  where c.id = close_chunk.chunk_id and c.state = 'accepted' and c.owner = close_chunk.worker
  and not exists (select from rowmill.chunk_rows as r where r.chunk_id = c.id);
  return found;
end;
$$;
comment on function rowmill.close_chunk is
  'Ends an accepted chunk that has nothing to send: its rows are gone, filtered out or in flight elsewhere.';
revoke all on function rowmill.close_chunk from public;
