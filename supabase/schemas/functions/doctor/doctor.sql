-- API: worker
create or replace function rowmill.doctor()
returns setof rowmill.diagnosis
language plpgsql
security definer -- neither an operator's dashboard nor the worker has rights on the tables
set search_path = pg_catalog, pg_temp
set lock_timeout = '500ms' -- a table that somebody has locked is a finding, not a wait
as $$
declare
  v_name text;
  v_verdict text;
  v_found text;
  v_remedy text;
begin
  begin
    perform rowmill.post_probes();
  exception when others then
    null; -- read-only, or a secret that is none: the checks say so
  end;
  foreach v_name in array rowmill.doctor_checks() loop
    begin
      execute format('select f.verdict, f.found, f.remedy from rowmill.examine_%s() as f', replace(v_name, ' ', '_'))
      into strict v_verdict, v_found, v_remedy;
    exception when others then
      v_verdict := 'fault';
      v_found := format('the check itself failed: %s (%s)', sqlerrm, sqlstate);
      v_remedy := 'Mend what it says, or run the newest migrations: npm run migrate';
    end;
    return next row(v_name, v_verdict, v_found, v_remedy)::rowmill.diagnosis;
  end loop;
end;
$$;
comment on function rowmill.doctor is
  'Looks at everything that Rowmill needs; one row a check, always all of them: verdict ok, note, warning or fault, what was '
  'found, and what to do. Posts two signed pings, and judges those of a moment ago: ask again some seconds later. Never raises. '
  'docs/doctor.md explains each check.';
revoke all on function rowmill.doctor from public;
