-- API: internal
create or replace function rowmill.settle_dropped(polls jsonb) -- as record_polls has them
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_batch_id bigint;
begin
  -- Nobody waits for the answers of a dropped pipeline: what they cost is settled here, and only files are left to delete.
  for v_batch_id in
    select b.id
    from jsonb_to_recordset(settle_dropped.polls) as r(batch_id bigint, is_terminal boolean)
    join rowmill.batch_processing_details as b on b.id = r.batch_id and b.state = 'running'
    join rowmill.pipelines as p on p.id = b.pipeline_id and p.state = 'dropped'
    where r.is_terminal
    order by b.id
    for update of b
  loop
    update rowmill.batch_processing_details as b
    set
      provider_status = r.provider_status,
      reported_input_tokens = rowmill.count_or_null(r.input_tokens),
      reported_cached_tokens = rowmill.count_or_null(r.cached_tokens),
      reported_output_tokens = rowmill.count_or_null(r.output_tokens)
    from jsonb_to_recordset(settle_dropped.polls)
      as r(batch_id bigint, provider_status text, input_tokens jsonb, cached_tokens jsonb, output_tokens jsonb)
    where b.id = v_batch_id and r.batch_id = b.id;
    perform rowmill.settle_money(v_batch_id);
  end loop;
end;
$$;
comment on function rowmill.settle_dropped is
  'Settles what the batches of dropped pipelines cost that the provider has ended.';
revoke all on function rowmill.settle_dropped from public;
