-- API: internal
create or replace function rowmill.examine_pg_net()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_version text := (select e.extversion from pg_extension as e where e.extname = 'pg_net');
  v_arguments text;
  v_mistrust rowmill.finding := rowmill.judge_schema(
    'net', array['http_post', 'check_worker_is_up', 'http_request_queue', '_http_response']
  );
begin
  if v_mistrust.verdict is not null then
    return v_mistrust;
  end if;
  if rowmill.has_pg_net() then
    if rowmill.may_read('net._http_response') then
      return row('ok', coalesce('version ' || v_version, 'there'), null)::rowmill.finding;
    end if;
    return row(
      'note', 'there, and its table of answers may not be read',
      format('grant select on net._http_response to %I;', current_user)
    )::rowmill.finding;
  end if;
  select string_agg(p.oid::regprocedure::text, ', ') into v_arguments
  from pg_proc as p
  join pg_namespace as n on n.oid = p.pronamespace
  where n.nspname = 'net' and p.proname = 'http_post';
  if v_arguments is not null then
    return row(
      'warning', format('there, and closed to %s or of another form: %s', current_user, v_arguments),
      format('grant usage on schema net to %I; or update the extension.', current_user)
    )::rowmill.finding;
  end if;
  return row(
    'note', 'not installed: chunks are not posted, workers fetch them',
    case
      when exists (select from pg_available_extensions as e where e.name = 'pg_net') then 'create extension pg_net;'
      else 'Nothing needs it. In Supabase: Database, Extensions, pg_net.'
    end
  )::rowmill.finding;
end;
$$;
comment on function rowmill.examine_pg_net is
  'Whether pg_net is installed, trusted, of the form that is known, and open to Rowmill''s owner.';
revoke all on function rowmill.examine_pg_net from public;
