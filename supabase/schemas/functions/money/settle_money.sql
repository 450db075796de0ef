-- API: internal
create or replace function rowmill.settle_money(batch_id bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_batch rowmill.batch_processing_details;
  v_price rowmill.model_prices;
  v_spent numeric;
begin
  select b.* into v_batch
  from rowmill.batch_processing_details as b
  where b.id = settle_money.batch_id and b.settled_at is null
  for update;
  if not found then
    return;
  end if;
  v_price := coalesce(v_batch.price, rowmill.price_of(v_batch.model));
  if v_batch.provider_batch_id is null then
    v_spent := 0; -- no batch of it is known; a stray that turns up is settled by itself
  elsif v_batch.provider_status = 'gone' and v_batch.input_tokens = 0 then
    -- The provider lost it, and may have charged for it: what it may have cost at most counts as spent, whatever it told
    -- while it ran.
    v_spent := greatest(
      coalesce(v_batch.reserved_usd, v_batch.estimated_usd),
      rowmill.cost_usd(v_price, v_batch.reported_input_tokens, v_batch.reported_cached_tokens, v_batch.reported_output_tokens)
    );
  else
    -- One by one: a figure that the provider told and that was no number is null, and the lines' sum stands in for it.
    v_spent := rowmill.cost_usd(v_price, coalesce(v_batch.reported_input_tokens, v_batch.input_tokens),
      coalesce(v_batch.reported_cached_tokens, v_batch.cached_tokens), coalesce(v_batch.reported_output_tokens, v_batch.output_tokens));
  end if;
  update rowmill.batch_processing_details as b
  set settled_at = now(), price = v_price, reserved_usd = 0, spent_usd = v_spent
  where b.id = v_batch.id;
  if coalesce(v_batch.reserved_usd, 0) <> 0 or coalesce(v_spent, 0) <> 0 then
    insert into rowmill.spending as s (pipeline_id, day, reserved_usd, spent_usd)
    values (v_batch.pipeline_id, v_batch.reserved_on, -coalesce(v_batch.reserved_usd, 0), coalesce(v_spent, 0))
    on conflict (pipeline_id, day) do update
    set reserved_usd = s.reserved_usd + excluded.reserved_usd, spent_usd = s.spent_usd + excluded.spent_usd;
  end if;
end;
$$;
comment on function rowmill.settle_money is
  'Ends a batch''s reservation and books what it did cost, both at once. Harmless to repeat.';
revoke all on function rowmill.settle_money from public;
