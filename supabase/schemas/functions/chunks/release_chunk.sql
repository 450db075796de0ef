-- API: worker
create or replace function rowmill.release_chunk(chunk_id bigint, worker text)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
begin
  update rowmill.chunks as c
  -- fetched again after settings.fetch_after: what failed just now would fail again at once
  set state = 'waiting', owner = null, lease_until = null, posted_at = now()
  where c.id = release_chunk.chunk_id and c.state = 'accepted' and c.owner = release_chunk.worker;
  if found then
    delete from rowmill.chunk_rows as r where r.chunk_id = release_chunk.chunk_id;
    return true;
  end if;
  return false;
end;
$$;
comment on function rowmill.release_chunk is
  'Gives an accepted chunk back untouched; false where it is not this worker''s any more.';
revoke all on function rowmill.release_chunk from public;
