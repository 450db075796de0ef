-- API: internal
create or replace function rowmill.forget_lost_keys(
  backfill rowmill.backfills -- one that is through
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if backfill.version_below is not null then
    return; -- it leaves out rows
  end if;
  -- What triggers lost before it began has been looked at now: inserted rows have no output; an edited one has its old one, and
  -- only a backfill of all rows sends it.
  delete from rowmill.trigger_errors as e
  where e.pipeline_id = backfill.pipeline_id and e.keys is null and e.happened_at < backfill.started_at
  and (e.what = 'insert' or e.what = 'edit' and not backfill.only_missing);
  if not backfill.only_missing then
    update rowmill.pipelines as p
    set lost_keys_found = greatest(p.lost_keys_found, backfill.lost_keys)
    where p.id = backfill.pipeline_id and p.lost_keys_found < backfill.lost_keys;
  end if;
end;
$$;
comment on function rowmill.forget_lost_keys is 'Clears the errors of triggers whose rows a finished backfill has queued.';
revoke all on function rowmill.forget_lost_keys from public;
