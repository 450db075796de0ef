-- API: internal
create or replace function rowmill.tokens_left(model text)
returns table (tokens_left bigint, in_queue bigint)
language plpgsql -- unlike one in SQL, it keeps its plan from call to call
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select least(l.enqueued_tokens, s.learned_tokens) - q.tokens, q.tokens
  from (
    select rowmill.clamped(coalesce(sum(b.reserved_tokens), 0)) as tokens
    from rowmill.batch_processing_details as b
    where b.model = tokens_left.model and b.state in ('preparing', 'running')
  ) as q
  left join rowmill.model_limits as l on l.model = tokens_left.model
  left join rowmill.model_states as s on s.model = tokens_left.model;
end;
$$;
comment on function rowmill.tokens_left is
  'Input tokens that still fit into a model''s queue at the provider (null: no limit is known), and those that are in it.';
revoke all on function rowmill.tokens_left from public;
