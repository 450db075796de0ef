-- API: internal
create or replace function rowmill.examine_prices()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_stuck text[];
  v_unknown text[];
  v_insert text := 'insert into rowmill.model_prices (model, input_usd, cached_input_usd, output_usd, as_of) '
    'values (%L, …, …, …, current_date); in dollars for a million tokens';
begin
  select
    array_agg(distinct p.model order by p.model)
      filter (where coalesce(p.budget_usd, p.daily_budget_usd, s.budget_usd, s.daily_budget_usd) is not null),
    array_agg(distinct p.model order by p.model)
  into v_stuck, v_unknown
  from rowmill.pipelines as p
  cross join rowmill.settings as s
  where p.state <> 'dropped' and rowmill.price_of(p.model) is null;
  return case
    when v_stuck is not null then row(
      'fault', format('none is known for %s, and a budget holds: nothing is sent', array_to_string(v_stuck, ', ')),
      format(v_insert, v_stuck[1])
    )::rowmill.finding
    when v_unknown is not null then row(
      'note', format('none is known for %s, so that costs are not', array_to_string(v_unknown, ', ')), format(v_insert, v_unknown[1])
    )::rowmill.finding
    else row('ok', 'known for every pipeline''s model', null)::rowmill.finding
  end;
end;
$$;
comment on function rowmill.examine_prices is
  'Whether model_prices knows the pipelines'' models: without a price, no budget can be kept.';
revoke all on function rowmill.examine_prices from public;
