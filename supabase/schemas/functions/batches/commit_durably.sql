-- API: internal
create or replace function rowmill.commit_durably()
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  -- Only where a crash could lose it: "local" and the stronger kinds stay.
  select set_config('synchronous_commit', 'on', true) where current_setting('synchronous_commit') = 'off';
$$;
comment on function rowmill.commit_durably is
  'Has this transaction on disk when its commit is answered, on a server that is set to answer earlier. '
  'For steps that something outside follows.';
revoke all on function rowmill.commit_durably from public;
