-- API: internal
create or replace function rowmill.apply_slice(
  batch rowmill.batch_processing_details, -- locked
  answers jsonb, -- as apply_results takes them
  failures jsonb
)
returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_chunk_ids bigint[];
  v_answers jsonb := answers;
  v_failures jsonb := failures;
  v_counts jsonb := '{"enriched": 0, "stale": 0, "gone": 0, "failed": 0}'::jsonb;
  v_failed integer := 0;
  v_unsettled integer;
  v_unknown integer := 0;
begin
  select array_agg(c.id) into v_chunk_ids from rowmill.chunks as c where c.batch_id = batch.id;
  if batch.has_twins then
    v_answers := rowmill.with_twins(v_answers, v_chunk_ids);
    v_failures := rowmill.with_twins(v_failures, v_chunk_ids);
  end if;

  if jsonb_array_length(v_answers) > 0 then
    -- Not as a "set" of the function, which only a superuser may give a parameter of this kind.
    perform set_config('rowmill.applying', rowmill.applying_mark(batch.pipeline_id), true);
    v_counts := rowmill.write_answers(
      batch, v_chunk_ids, v_answers,
      exists (select from rowmill.failures as f where f.pipeline_id = batch.pipeline_id),
      rowmill.position_to_remember(batch.pipeline_id, v_chunk_ids)
    );
    perform set_config('rowmill.applying', '', true);
  end if;
  if jsonb_array_length(v_failures) > 0 then
    v_failed := rowmill.settle_failures(batch.pipeline_id, batch.id, (
      select coalesce(jsonb_agg(f.value), '[]')
      from jsonb_array_elements(v_failures) as f(value)
      where (f.value ->> 'c')::bigint = any (v_chunk_ids)
    ));
  end if;

  v_counts := v_counts || jsonb_build_object('failed', (v_counts ->> 'failed')::integer + v_failed);
  v_unsettled := jsonb_array_length(v_answers) + jsonb_array_length(v_failures)
    - (select sum(c.value::integer) from jsonb_each_text(v_counts) as c);
  if v_unsettled > 0 then
    v_unknown := rowmill.count_strangers(batch.id, v_answers || v_failures);
  end if;
  return v_counts || jsonb_build_object('duplicate', v_unsettled - v_unknown, 'unknown', v_unknown);
end;
$$;
comment on function rowmill.apply_slice is
  'Writes the answers and settles the failures of one slice; returns how many rows and lines: {"enriched", "stale", "gone", '
  '"failed", "duplicate", "unknown"}. A repeated line changes nothing and is a duplicate.';
revoke all on function rowmill.apply_slice from public;
