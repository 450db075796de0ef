-- API: internal
create or replace function rowmill.why_first_waits(
  model text,
  room rowmill.room,
  forecast rowmill.forecast, -- of the chunk
  requests integer, -- in it; null: it was never tried
  was_just_tried boolean,
  tokens_free numeric, -- this and what follows: as share_of_room says
  tokens_left numeric,
  has_own_tokens boolean,
  is_gap boolean
)
returns table (waits_for text, reason text)
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- The first goes even if its size is not known, or if it is larger than the room and nothing that ends would make
  -- more: it is cut to what fits.
  if room.tokens_come and (
    forecast.most_tokens > tokens_free or has_own_tokens and (forecast.most_tokens > tokens_left or is_gap)
  ) then
    -- Nor is each gap filled as it opens: batches would stay as small as the first ones were.
    waits_for := 'tokens';
    reason := format('The queue for %s has room for %s input tokens of it. It goes on when batches end.',
      why_first_waits.model, greatest(tokens_left, 0));
    return next;
  -- Where not one of its requests fits, it is not read again at every look. Now and then it is: an edit of the
  -- pipeline or of the limit on output tokens may have made them cheaper.
  elsif forecast.most_usd > room.usd
    and (room.usd_comes or was_just_tried and forecast.most_usd / nullif(why_first_waits.requests, 0) > room.usd) then
    waits_for := 'budget';
    reason := rowmill.budget_reason(forecast.most_usd, room);
    return next;
  elsif was_just_tried and forecast.most_tokens / nullif(why_first_waits.requests, 0) > room.tokens then
    waits_for := 'tokens';
    reason := format('A single request of it takes more input tokens than the %s that the queue for %s has room for; '
      'rowmill.model_limits may be too low.', room.tokens, why_first_waits.model);
    return next;
  end if;
end;
$$;
comment on function rowmill.why_first_waits is
  'Why the first chunk of a batch waits, no row where it goes. Those after it go while they fit.';
revoke all on function rowmill.why_first_waits from public;
