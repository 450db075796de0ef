-- API: internal
create or replace function rowmill.examine_workers()
returns rowmill.finding
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when w.alive = 0 then row(
      'fault',
      case
        when w.seen_at is null then 'none was seen within a day'
        else format('none; the last was seen %s', rowmill.ago(w.seen_at))
      end,
      'Start one: npm start, with DATABASE_URL and OPENAI_API_KEY.'
    )::rowmill.finding
    when cardinality(w.versions) > 1 then row(
      'note', format('%s, of versions %s', w.alive, array_to_string(w.versions, ', ')), 'Bring all workers to one version.'
    )::rowmill.finding
    else row('ok', format('%s of version %s, seen %s', w.alive, w.versions[1], rowmill.ago(w.seen_at)), null)::rowmill.finding
  end
  from (
    select
      count(*) filter (where r.seen_at > now() - s.lease) as alive,
      max(r.seen_at) as seen_at,
      array_agg(distinct r.version) filter (where r.seen_at > now() - s.lease) as versions
    from rowmill.settings as s
    left join rowmill.workers as r on true
  ) as w;
$$;
comment on function rowmill.examine_workers is
  'Whether a worker was seen within settings.lease, and of which versions they are.';
revoke all on function rowmill.examine_workers from public;
