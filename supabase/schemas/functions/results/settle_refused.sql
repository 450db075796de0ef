-- API: internal
create or replace function rowmill.settle_refused(
  batch rowmill.batch_processing_details,
  counts jsonb -- as write_slice returns them
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_refused jsonb := counts -> 'refused';
  v_passed integer := (counts ->> 'enriched')::integer;
  v_first record;
  v_failed integer;
begin
  select r.sqlstate, r.message into v_first
  from jsonb_to_recordset(v_refused) as r(sqlstate text, message text, is_row boolean)
  where not r.is_row
  limit 1;
  -- A missing right or object is the operator's to give, and every answer waits for it. Where other rows of the slice
  -- passed, or more of the batch before, it is these rows'.
  if found and v_passed = 0 and jsonb_array_length(v_refused) >= batch.rows_enriched
    and not exists (select from jsonb_array_elements(v_refused) as r(value) where (r.value -> 'is_row')::boolean) then
    raise exception using errcode = v_first.sqlstate, message = v_first.message;
  end if;
  select coalesce(sum(rowmill.fail_answer(batch, r.answer, r.sqlstate, r.message)), 0) into strict v_failed
  from jsonb_to_recordset(v_refused) as r(answer jsonb, sqlstate text, message text);
  return counts - 'refused' || jsonb_build_object('failed', v_failed);
end;
$$;
comment on function rowmill.settle_refused is
  'Fails the rows whose answers Postgres refused, each with its reason; returns the counts with them. Where every row of a slice is '
  'refused for a right or an object that is missing, it raises that instead: the slice can be tried again.';
revoke all on function rowmill.settle_refused from public;
