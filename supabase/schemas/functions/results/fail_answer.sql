-- API: internal
create or replace function rowmill.fail_answer(
  batch rowmill.batch_processing_details,
  answer jsonb, -- {"c": chunk, "n", "h": hash, …}
  sqlstate text,
  message text -- what Postgres said
)
returns integer
language sql
set search_path = pg_catalog, pg_temp
as $$
  select rowmill.settle_failures((fail_answer.batch).pipeline_id, (fail_answer.batch).id, jsonb_build_array(jsonb_build_object(
    'c', fail_answer.answer -> 'c', 'n', fail_answer.answer -> 'n', 'h', fail_answer.answer -> 'h',
    'class', 'type_mismatch', 'code', fail_answer.sqlstate, 'message', 'Postgres refused the answer: ' || fail_answer.message,
    'retried', true, 'counted', true
  )));
$$;
comment on function rowmill.fail_answer is
  'Settles the row of an answer that Postgres refused as failed; returns 1, or 0 where it is not in flight.';
revoke all on function rowmill.fail_answer from public;
