-- API: internal
create or replace function rowmill.examine_large_post()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_finding rowmill.finding := rowmill.judge_probe(rowmill.probe_of(true));
begin
  if exists (select from rowmill.settings as s where not s.post_rows) then
    return row('ok', 'not needed: settings.post_rows is false, so that posts carry no rows', null)::rowmill.finding;
  end if;
  if v_finding.verdict = 'fault' then
    if not rowmill.has_arrived(rowmill.probe_of(false)) then
      v_finding.remedy := 'See the small post first.';
    else
      -- What travels late is fetched: nothing stands still.
      v_finding.verdict := 'warning';
      v_finding.found := 'small posts arrive, and one of 1 MB does not: ' || v_finding.found;
      v_finding.remedy := 'update rowmill.settings set post_rows = false;';
    end if;
  end if;
  return v_finding;
end;
$$;
comment on function rowmill.examine_large_post is
  'Whether a post of 1.1 MB arrives: some builds of pg_net, and some proxies, stall on large ones.';
revoke all on function rowmill.examine_large_post from public;
