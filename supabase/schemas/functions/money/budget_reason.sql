-- API: internal
create or replace function rowmill.budget_reason(most_usd numeric, room rowmill.room)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select format('It may cost up to $%s, and %s. It goes on when running batches are settled, when the budget grows%s.',
    round(budget_reason.most_usd, 4), (budget_reason.room).usd_reason,
    case when (budget_reason.room).usd_reason like '%today%' then ', or at midnight (UTC)' else '' end);
$$;
comment on function rowmill.budget_reason is
  'Why work of this highest cost waits for a budget, in words.';
revoke all on function rowmill.budget_reason from public;
