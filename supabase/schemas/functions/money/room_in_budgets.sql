-- API: internal
create or replace function rowmill.room_in_budgets(room rowmill.room, pipeline_id bigint)
returns rowmill.room
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_today date := (now() at time zone 'UTC')::date;
  v_budget record;
begin
  for v_budget in
    select p.model, f.*, m.reserved_usd, m.spent_usd, f.usd - m.spent_usd - m.reserved_usd as left_usd
    from rowmill.pipelines as p
    cross join rowmill.settings as s
    cross join lateral (values
      ('budget', format('the budget of "%s"', p.name), p.budget_usd, p.id, null::date),
      ('daily_budget', format('today''s budget of "%s"', p.name), p.daily_budget_usd, p.id, v_today),
      ('budget', 'the installation''s budget', s.budget_usd, null::bigint, null::date),
      ('daily_budget', 'the installation''s budget for today', s.daily_budget_usd, null::bigint, v_today)
    ) as f(code, name, usd, pipeline_id, day)
    cross join lateral rowmill.money_of(f.pipeline_id, f.day) as m
    where p.id = room_in_budgets.pipeline_id and f.usd is not null
  loop
    if rowmill.price_of(v_budget.model) is null then
      room.code := 'price';
      room.reason := format('There is a budget, and rowmill.model_prices has no price for %s. Insert one, or take the budget away.',
        v_budget.model);
      return room;
    end if;
    if v_budget.spent_usd is null then
      room.code := 'price';
      room.reason := format('What counts against %s is unknown: a batch''s model has no price in rowmill.model_prices. Insert it.',
        v_budget.name);
      return room;
    end if;
    if rowmill.runs_without_limit(v_budget.pipeline_id) then
      room.code := 'budget';
      room.reason := format('Batches still run that were sent before there was %s, without a limit on output tokens; '
        'what they cost is known when they end.', v_budget.name);
      return room;
    end if;
    room.usd_comes := room.usd_comes or v_budget.reserved_usd > 0;
    if room.usd is null or v_budget.left_usd < room.usd then
      room.usd := v_budget.left_usd;
      room.usd_reason := format('$%s of $%s, %s, is left ($%s spent, $%s reserved)', round(greatest(room.usd, 0), 4), v_budget.usd,
        v_budget.name, round(v_budget.spent_usd, 4), round(v_budget.reserved_usd, 4));
      room.code := case when room.usd <= 0 then v_budget.code end;
    end if;
  end loop;
  if room.code is not null then
    room.reason := format('%s. It goes on when the budget grows%s.', room.usd_reason,
      case room.code when 'daily_budget' then ', or at midnight (UTC)' else '' end);
  end if;
  return room;
end;
$$;
comment on function rowmill.room_in_budgets is
  'A room with what is left of the tightest budget that holds for a pipeline; with a code where nothing is, or where that is not known.';
revoke all on function rowmill.room_in_budgets from public;
