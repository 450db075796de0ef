-- API: internal
create or replace function rowmill.note_refusal(pipeline_id bigint, reason text)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  update rowmill.pipelines as p
  set
    strikes = case when p.wait_until > now() then p.strikes else p.strikes + 1 end,
    wait_until = case
      when p.wait_until > now() then p.wait_until
      else now() + least(s.fetch_after * power(2, least(p.strikes, 10)), interval '10 minutes')
    end,
    wait_reason = note_refusal.reason
  from rowmill.settings as s
  where p.id = note_refusal.pipeline_id;
$$;
comment on function rowmill.note_refusal is
  'The provider took no batch of a pipeline, for no fault of its rows: '
  'it is tried again after settings.fetch_after, twice as long each time in a row, ten minutes at most.';
revoke all on function rowmill.note_refusal from public;
