-- API: internal
create or replace function rowmill.price_of(model text)
returns rowmill.model_prices
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select m
  from rowmill.model_prices as m
  where m.model in (price_of.model, regexp_replace(price_of.model, '-\d{4}-\d{2}-\d{2}$', ''))
  order by m.model = price_of.model desc
  limit 1;
$$;
comment on function rowmill.price_of is
  'The price of a model; a dated name (gpt-4o-mini-2024-07-18) has its family''s where it has none of its own. null: nobody knows.';
revoke all on function rowmill.price_of from public;
