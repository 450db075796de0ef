-- API: internal
create or replace function rowmill.check_limits(definition rowmill.pipelines)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bad text;
begin
  if definition.chunk_size is null or definition.chunk_size not between 1 and 50000 then
    raise exception using errcode = 'RM109', message = 'chunk_size is out of range',
      detail = format('It is %s; a batch holds 50,000 requests at most.', coalesce(definition.chunk_size::text, 'null')),
      hint = 'Use 1 to 50000; 1000 suits most.';
  end if;
  if definition.max_attempts is null or definition.max_attempts not between 1 and 100 then
    raise exception using errcode = 'RM109', message = 'max_attempts is out of range',
      detail = format('It is %s.', coalesce(definition.max_attempts::text, 'null')), hint = 'Use 1 to 100; 3 suits most.';
  end if;
  if definition.flush_after is null or definition.flush_after < '0'::interval then
    raise exception using errcode = 'RM109', message = 'flush_after is not a duration',
      detail = format('It is %s.', coalesce(definition.flush_after::text, 'null')), hint = 'flush_after => ''1 minute''';
  end if;
  select string_agg(format('%s %s', b.name, b.usd), ', ') into v_bad
  from (values ('budget_usd', definition.budget_usd), ('daily_budget_usd', definition.daily_budget_usd)) as b(name, usd)
  where b.usd not between 0 and 1e15;
  if v_bad is not null then
    raise exception using errcode = 'RM109', message = format('that is no budget: %s', v_bad),
      detail = 'A budget is an amount of US dollars; 0 spends nothing, null has no limit.', hint = 'budget_usd => 25';
  end if;
end;
$$;
comment on function rowmill.check_limits is
  'Whether the sizes, times, attempts and budgets of a definition are in range: what makes no new version. Raises RM109.';
revoke all on function rowmill.check_limits from public;
