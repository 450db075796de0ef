-- API: internal
create or replace function rowmill.judge_probe(probe rowmill.probe)
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_why_not text := rowmill.why_no_post();
begin
  return case
    when v_why_not is not null then row(
      'note', 'nothing is posted: ' || v_why_not, 'Workers fetch what nobody posts. See pg_net, endpoint and secret.'
    )::rowmill.finding
    when (probe).newest_at is null then row(
      'note', 'nothing could be posted',
      'Call doctor() outside of a read-only transaction, with settings.post_rows as you want it.'
    )::rowmill.finding
    when (probe).newest_state = 'queued' then row(
      'fault', format('posted %s, and still in pg_net''s queue', rowmill.ago((probe).newest_at)), 'See the check of pg_net''s worker.'
    )::rowmill.finding
    when (probe).newest_state = 'lost' then row(
      'warning',
      format('posted %s, and pg_net has neither the post nor an answer: a crash empties its tables. Another one was posted',
        rowmill.ago((probe).newest_at)),
      'Ask again in some seconds: select * from rowmill.doctor();'
    )::rowmill.finding
    when (probe).ping_id is null then row(
      'note', format('posted %s, and not answered yet', rowmill.ago((probe).newest_at)),
      'Ask again in some seconds: select * from rowmill.doctor();'
    )::rowmill.finding
    else rowmill.judge_answer(probe)
  end;
end;
$$;
comment on function rowmill.judge_probe is
  'What became of a ping.';
revoke all on function rowmill.judge_probe from public;
