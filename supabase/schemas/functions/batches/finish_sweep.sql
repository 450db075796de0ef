-- API: worker
create or replace function rowmill.finish_sweep(
  batch_id bigint,
  worker text,
  began_seconds_ago double precision -- how long ago the search began
)
returns boolean
language plpgsql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
begin
  update rowmill.batch_processing_details as b
  set
    owner = null,
    lease_until = null,
    -- A request on its way when the intent was given up may take effect later, and a list may lag behind.
    sweep_at = case
      when now() - finish_sweep.began_seconds_ago * interval '1 second' < b.done_at + s.adopt_after then b.done_at + s.adopt_after
    end
  from rowmill.settings as s
  where b.id = finish_sweep.batch_id and b.owner = finish_sweep.worker;
  return found;
end;
$$;
comment on function rowmill.finish_sweep is
  'The provider was searched and holds nothing of this intent any more. '
  'Searched once more when settings.adopt_after has passed since it was given up, if that is still to come.';
revoke all on function rowmill.finish_sweep from public;
