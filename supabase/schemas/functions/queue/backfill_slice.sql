-- API: internal
create or replace function rowmill.backfill_slice(pipeline_id bigint, max_rows integer)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- keys, as in the triggers
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
  v_backfill rowmill.backfills;
  v_rows integer;
  v_queued integer;
  v_last jsonb;
begin
  select b.* into v_backfill
  from rowmill.backfills as b
  where b.pipeline_id = backfill_slice.pipeline_id and b.finished_at is null
  for update skip locked;
  if not found then
    return 0;
  end if;
  execute rowmill.backfill_sql(v_backfill)
  into strict v_rows, v_queued, v_last
  using v_backfill.after_key, backfill_slice.max_rows, v_backfill.only_missing, backfill_slice.pipeline_id;

  update rowmill.backfills as b
  set
    after_key = coalesce(v_last, b.after_key),
    rows_queued = b.rows_queued + v_queued,
    finished_at = case when v_rows < backfill_slice.max_rows then clock_timestamp() end
  where b.pipeline_id = backfill_slice.pipeline_id;
  if v_rows < backfill_slice.max_rows then
    perform rowmill.forget_lost_keys(v_backfill);
  end if;
  return v_queued;
end;
$$;
comment on function rowmill.backfill_slice is
  'Takes an open backfill forward by up to max_rows of the table, in the order of its key; returns how many rows it queued. A crash '
  'repeats at most the slice in hand.';
revoke all on function rowmill.backfill_slice from public;
