-- API: internal
create or replace function rowmill.why_batch_waits(model text, room rowmill.room, forecast rowmill.forecast, requests integer)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_fits bigint;
  v_lacks_tokens boolean;
  v_lacks_usd boolean;
begin
  if room.code is not null then
    return jsonb_build_object('status', 'waits', 'waits_for', room.code, 'reason', room.reason, 'fits', 0);
  end if;
  if room.tokens is not null and not room.tokens_come then
    -- Only a batch that ends well teaches that there is room again. With none on its way one request is tried, however
    -- little the model is thought to take; what an operator says it takes holds.
    room.tokens := greatest(room.tokens, least(
      ceil(forecast.most_tokens::numeric / nullif(why_batch_waits.requests, 0)),
      (select l.enqueued_tokens from rowmill.model_limits as l where l.model = why_batch_waits.model)
    ));
  end if;
  v_lacks_tokens := coalesce(forecast.most_tokens > room.tokens, false);
  v_lacks_usd := coalesce(forecast.most_usd > room.usd, false);
  if not v_lacks_tokens and not v_lacks_usd then
    return null;
  end if;
  v_fits := least(
    floor(room.usd / nullif(forecast.most_usd / why_batch_waits.requests, 0)),
    floor(room.tokens / nullif(forecast.most_tokens::numeric / why_batch_waits.requests, 0))
  );
  return jsonb_build_object(
    'status', 'waits',
    'waits_for', case when v_lacks_tokens then 'tokens' else 'budget' end,
    'reason', case
      when v_lacks_tokens
        then format('Its %s input tokens do not fit into the queue for %s, which has room for %s. It goes on when batches end.',
          forecast.most_tokens, why_batch_waits.model, room.tokens)
      else rowmill.budget_reason(forecast.most_usd, room)
    end,
    -- A part is sent only where waiting would not make room for the whole.
    'fits', case when v_lacks_usd and room.usd_comes or v_lacks_tokens and room.tokens_come then 0 else v_fits end
  );
end;
$$;
comment on function rowmill.why_batch_waits is
  'What begin_batch answers where a batch finds no room, and how many of its requests would; null where all of it fits.';
revoke all on function rowmill.why_batch_waits from public;
