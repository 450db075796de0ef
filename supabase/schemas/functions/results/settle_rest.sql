-- API: internal
create or replace function rowmill.settle_rest(
  batch_id bigint, error_class text, code text, message text, retried boolean, counted boolean, noted boolean, delay_seconds integer
)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rest jsonb;
  v_settled integer := 0;
begin
  select jsonb_agg(jsonb_build_object(
    'c', r.chunk_id, 'n', r.n, 'h', r.hash,
    'class', settle_rest.error_class, 'code', settle_rest.code, 'message', settle_rest.message,
    'retried', settle_rest.retried, 'counted', settle_rest.counted, 'noted', settle_rest.noted, 'delay_seconds', settle_rest.delay_seconds
  ))
  into v_rest
  from rowmill.chunks as c
  join rowmill.chunk_rows as r on r.chunk_id = c.id
  where c.batch_id = settle_rest.batch_id;
  if v_rest is not null then
    select rowmill.settle_failures(b.pipeline_id, b.id, v_rest) into strict v_settled
    from rowmill.batch_processing_details as b
    where b.id = settle_rest.batch_id;
  end if;
  update rowmill.chunks as c
  set state = 'done', keys = null, ended_at = now()
  where c.batch_id = settle_rest.batch_id and c.state = 'batched';
  return v_settled;
end;
$$;
comment on function rowmill.settle_rest is
  'Settles every row of a batch that has no outcome yet, and ends its chunks; returns how many rows.';
revoke all on function rowmill.settle_rest from public;
