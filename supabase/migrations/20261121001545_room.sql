-- Whether a pipeline may submit now, and why not. What finds no room waits in its table, with the reason.
-- Workers need not stop.

alter table rowmill.pipelines
  add column wait_until timestamptz,
  add column wait_reason text,
  add column strikes integer not null default 0,
  add column failed_in_row integer not null default 0,
  add column rows_failed_in_row integer not null default 0,
  add column failures_checked_to text not null default '';
comment on column rowmill.pipelines.wait_until is 'Until when the provider is left alone, because it took no batch of this pipeline.';
comment on column rowmill.pipelines.strikes is 'How often in a row it took none; each doubles the wait, ten minutes at most.';
comment on column rowmill.pipelines.failed_in_row is 'Batches in a row under settings.breaker_pass_ratio.';
comment on column rowmill.pipelines.rows_failed_in_row is 'Rows that failed for the first time in them.';
comment on column rowmill.pipelines.failures_checked_to is 'How far the tick has looked whether the rows of failures are still as they were: a digest of a key, in the index''s order.';

alter table rowmill.chunks
  add column waits_for text,
  add column wait_reason text,
  add column requests integer,
  add column raw_input_tokens bigint,
  add column max_output_tokens bigint,
  add column bytes bigint,
  add constraint chunks_wait_with_a_reason check ((waits_for is null) = (wait_reason is null)),
  add constraint chunks_wait_while_waiting check (waits_for is null or state = 'waiting');
comment on column rowmill.chunks.waits_for is 'What a waiting chunk found no room in: budget, daily_budget, price, tokens, rate, provider, quota, paused, or turn (others wait for the same and came before); null: it has not been tried.';
comment on column rowmill.chunks.requests is 'What its file had when it was tried: requests, tokens by the tokenizer, the sum of output limits, bytes.';
create index chunks_waiting_for_room on rowmill.chunks (pipeline_id, id) where waits_for is not null;

create type rowmill.room as (
  code text, -- why nothing may be submitted at all; null: something may
  reason text,
  usd numeric, -- US dollars that are left; null: no budget
  usd_reason text, -- which budget that is
  usd_comes boolean, -- more may be left once what is in flight is settled
  tokens bigint, -- of the model's queue; null: no limit known
  tokens_in_queue bigint,
  tokens_come boolean,
  batches bigint -- that may be created within the hour
);
comment on type rowmill.room is 'How much a pipeline may submit now.';

-- API: internal
create function rowmill.has_budget(pipeline_id bigint)
returns boolean
language sql
stable
set search_path = ''
as $$
  select p.budget_usd is not null or p.daily_budget_usd is not null or s.budget_usd is not null or s.daily_budget_usd is not null
  from rowmill.pipelines as p
  cross join rowmill.settings as s
  where p.id = has_budget.pipeline_id;
$$;
comment on function rowmill.has_budget(bigint) is 'Whether any budget holds for a pipeline, its own or the installation''s.';
revoke all on function rowmill.has_budget(bigint) from public;

-- API: internal
create function rowmill.tokens_left(model text)
returns table (tokens_left bigint, in_queue bigint)
language sql
stable
set search_path = ''
as $$
  select least(l.enqueued_tokens, s.learned_tokens) - q.tokens, q.tokens
  from (
    select coalesce(sum(b.reserved_tokens), 0)::bigint as tokens
    from rowmill.batch_processing_details as b
    where b.model = tokens_left.model and b.state in ('preparing', 'running')
  ) as q
  left join rowmill.model_limits as l on l.model = tokens_left.model
  left join rowmill.model_states as s on s.model = tokens_left.model;
$$;
comment on function rowmill.tokens_left(text) is 'Input tokens that still fit into a model''s queue at the provider (null: no limit is known), and those that are in it.';
revoke all on function rowmill.tokens_left(text) from public;

-- API: internal
create function rowmill.room_for(pipeline_id bigint)
returns rowmill.room
language plpgsql
stable
set search_path = ''
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
comment on function rowmill.room_for(bigint) is
  'Whether a pipeline may submit now: budgets, the model''s queue, batches an hour, the provider''s mood. Says why not, or how much fits.';
revoke all on function rowmill.room_for(bigint) from public;

-- API: internal
create function rowmill.note_full_queue(model text, tokens bigint)
returns void
language sql
set search_path = ''
as $$
  insert into rowmill.model_states as m (model, learned_tokens, strikes, blocked_until)
  select note_full_queue.model, greatest(1, (t.in_queue + note_full_queue.tokens) * 7 / 10), 1, now() + s.retry_after
  from rowmill.tokens_left(note_full_queue.model) as t
  cross join rowmill.settings as s
  on conflict (model) do update
  set
    -- Several batches that were on their way together are turned away together; that is one lesson.
    learned_tokens = case when m.blocked_until > now() then m.learned_tokens else excluded.learned_tokens end,
    strikes = case when m.blocked_until > now() then m.strikes else m.strikes + 1 end,
    blocked_until = case
      when m.blocked_until > now() then m.blocked_until
      else now() + least((excluded.blocked_until - now()) * power(2, least(m.strikes, 10)), interval '1 hour')
    end;
$$;
comment on function rowmill.note_full_queue(text, bigint) is
  'The provider had no room for so many tokens more: the model is left alone for settings.retry_after, twice as long each time in a row, and then filled to seven tenths of what was too much.';
revoke all on function rowmill.note_full_queue(text, bigint) from public;

-- API: internal
create function rowmill.note_room_in_queue(model text, tokens bigint)
returns void
language sql
set search_path = ''
as $$
  update rowmill.model_states as m
  set strikes = 0, blocked_until = null, learned_tokens = m.learned_tokens + ceil(note_room_in_queue.tokens * 0.25)
  where m.model = note_room_in_queue.model;
$$;
comment on function rowmill.note_room_in_queue(text, bigint) is 'A batch of so many tokens ended well: a quarter of them more is tried next.';
revoke all on function rowmill.note_room_in_queue(text, bigint) from public;

-- API: internal
create function rowmill.note_refusal(pipeline_id bigint, reason text)
returns void
language sql
set search_path = ''
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
comment on function rowmill.note_refusal(bigint, text) is
  'The provider took no batch of a pipeline, for no fault of its rows: it is tried again after settings.fetch_after, twice as long each time in a row, ten minutes at most.';
revoke all on function rowmill.note_refusal(bigint, text) from public;

-- API: internal
create function rowmill.is_being_tried(pipeline_id bigint)
returns boolean
language sql
stable
set search_path = ''
as $$
  select exists (
    select from rowmill.pipelines as p where p.id = is_being_tried.pipeline_id and p.strikes > 0
  ) and (
    exists (
      select from rowmill.chunks as c where c.pipeline_id = is_being_tried.pipeline_id and c.state = 'accepted'
    ) or exists (
      select from rowmill.batch_processing_details as b where b.pipeline_id = is_being_tried.pipeline_id and b.state = 'preparing'
    )
  );
$$;
comment on function rowmill.is_being_tried(bigint) is
  'Whether one batch is on its way to a provider that took none before: the others wait for what becomes of it.';
revoke all on function rowmill.is_being_tried(bigint) from public;

-- API: internal
create function rowmill.budget_reason(most_usd numeric, room rowmill.room)
returns text
language sql
immutable
set search_path = ''
as $$
  select format('It may cost up to $%s, and %s. It goes on when running batches are settled, when the budget grows%s.',
    round(budget_reason.most_usd, 4), (budget_reason.room).usd_reason,
    case when (budget_reason.room).usd_reason like '%today%' then ', or at midnight (UTC)' else '' end);
$$;
comment on function rowmill.budget_reason(numeric, rowmill.room) is 'Why work of this highest cost waits for a budget, in words.';
revoke all on function rowmill.budget_reason(numeric, rowmill.room) from public;
