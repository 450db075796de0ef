-- API: internal
create or replace function rowmill.room_for(pipeline_id bigint)
returns rowmill.room
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_settings rowmill.settings;
  v_room rowmill.room;
  v_today date := (now() at time zone 'UTC')::date;
  v_state rowmill.model_states;
  v_budget record;
  v_tokens record;
begin
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = room_for.pipeline_id;
  select s.* into strict v_settings from rowmill.settings as s;
  v_room.usd_comes := false;

  if v_pipeline.state <> 'active' then
    v_room.code := v_pipeline.state;
    v_room.reason := coalesce(v_pipeline.state_reason, 'The pipeline is paused; resume_pipeline goes on.');
    return v_room;
  end if;
  if v_pipeline.wait_until > now() then
    v_room.code := 'provider';
    v_room.reason := format('%s Tried again at %s.', v_pipeline.wait_reason, to_char(v_pipeline.wait_until at time zone 'UTC', 'HH24:MI:SS UTC'));
    return v_room;
  end if;

  select m.* into v_state from rowmill.model_states as m where m.model = v_pipeline.model;
  if v_state.blocked_until > now() then
    v_room.code := 'tokens';
    v_room.reason := format('The provider''s queue for %s is full; tried again at %s.', v_pipeline.model,
      to_char(v_state.blocked_until at time zone 'UTC', 'HH24:MI:SS UTC'));
    return v_room;
  end if;
  select t.* into strict v_tokens from rowmill.tokens_left(v_pipeline.model) as t;
  v_room.tokens := v_tokens.tokens_left;
  v_room.tokens_in_queue := v_tokens.in_queue;
  v_room.tokens_come := v_tokens.in_queue > 0;
  if v_room.tokens <= 0 then
    v_room.code := 'tokens';
    v_room.reason := format('The queue for %s is full: %s input tokens are in it. It goes on when batches end.', v_pipeline.model, v_tokens.in_queue);
    return v_room;
  end if;

  for v_budget in
    select *
    from (values
      ('budget', format('the budget of "%s"', v_pipeline.name), v_pipeline.budget_usd, v_pipeline.id, null::date),
      ('daily_budget', format('today''s budget of "%s"', v_pipeline.name), v_pipeline.daily_budget_usd, v_pipeline.id, v_today),
      ('budget', 'the installation''s budget', v_settings.budget_usd, null::bigint, null::date),
      ('daily_budget', 'the installation''s budget for today', v_settings.daily_budget_usd, null::bigint, v_today)
    ) as f(code, name, usd, pipeline_id, day)
    cross join lateral rowmill.money_of(f.pipeline_id, f.day) as m
    where f.usd is not null
  loop
    if rowmill.price_of(v_pipeline.model) is null then
      v_room.code := 'price';
      v_room.reason := format('There is a budget, and rowmill.model_prices has no price for %s. Insert one, or take the budget away.', v_pipeline.model);
      return v_room;
    end if;
    if v_budget.spent_usd is null then
      v_room.code := 'price';
      v_room.reason := format('What counts against %s is unknown: a batch''s model has no price in rowmill.model_prices. Insert it.', v_budget.name);
      return v_room;
    end if;
    if exists (
      select
      from rowmill.batch_processing_details as b
      where b.state in ('preparing', 'running', 'ended') and b.reserved_usd is null
      and (v_budget.pipeline_id is null or b.pipeline_id = v_budget.pipeline_id)
    ) then
      v_room.code := 'budget';
      v_room.reason := format('Batches still run that were sent before there was %s, without a limit on output tokens; what they cost is known when they end.', v_budget.name);
      return v_room;
    end if;
    if v_budget.reserved_usd > 0 then
      v_room.usd_comes := true;
    end if;
    if v_room.usd is null or v_budget.usd - v_budget.spent_usd - v_budget.reserved_usd < v_room.usd then
      v_room.usd := v_budget.usd - v_budget.spent_usd - v_budget.reserved_usd;
      v_room.usd_reason := format('$%s of $%s, %s, is left ($%s spent, $%s reserved)',
        round(greatest(v_room.usd, 0), 4), v_budget.usd, v_budget.name, round(v_budget.spent_usd, 4), round(v_budget.reserved_usd, 4));
      v_room.code := case when v_room.usd <= 0 then v_budget.code end;
    end if;
  end loop;
  if v_room.code is not null then
    v_room.reason := format('%s. It goes on when the budget grows%s.', v_room.usd_reason, case v_room.code when 'daily_budget' then ', or at midnight (UTC)' else '' end);
    return v_room;
  end if;

  select v_settings.batches_per_hour - count(*) into strict v_room.batches
  from rowmill.batch_processing_details as b
  where b.created_at > now() - interval '1 hour' and b.state <> 'abandoned';
  if v_room.batches <= 0 then
    v_room.code := 'rate';
    v_room.reason := format('%s batches were created within the last hour, which is the limit; what waits is packed into larger ones.', v_settings.batches_per_hour);
  end if;
  return v_room;
end;
$$;
comment on function rowmill.room_for is
   'Whether a pipeline may submit now: budgets, the model''s queue, batches an hour, the provider''s mood. Says why not, or how much fits.';
revoke all on function rowmill.room_for from public;
