-- API: internal
create or replace function rowmill.judge_refusal(error jsonb)
returns rowmill.finding
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when e.code in ('bad_signature', 'no_secret') then row(
      'warning', 'it arrived, and the worker does not believe its signature', 'See the check of the secret.'
    )::rowmill.finding
    when e.code = 'bad_timestamp' then row(
      'warning', 'it arrived, and the worker''s clock says that it is not of now', 'See the check of the clock.'
    )::rowmill.finding
    when e.code in ('busy', 'database_unreachable') then row(
      'note',
      format('it arrived, and the worker turned it away for now: %s', left(judge_refusal.error ->> 'message', 100)),
      'Ask again in a minute. Should it stay so, look at the worker''s log.'
    )::rowmill.finding
  end
  from (select judge_refusal.error ->> 'code' as code) as e;
$$;
comment on function rowmill.judge_refusal is
  'What an error says that a worker answered a ping with; null where it is none that says something about posts.';
revoke all on function rowmill.judge_refusal from public;
