-- API: internal
create or replace function rowmill.note_trigger_error(
  pipeline_id bigint,
  what text, -- 'insert', 'edit' or 'chunk', as trigger_errors has it
  sqlstate text,
  message text,
  keys jsonb default null -- those that could not be queued: a JSON array of JSON arrays
)
returns void
language plpgsql
security definer -- called from triggers of those who insert
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into rowmill.trigger_errors (pipeline_id, what, sqlstate, message, keys)
  select
    note_trigger_error.pipeline_id, note_trigger_error.what, note_trigger_error.sqlstate, left(note_trigger_error.message, 2000), k.keys
  from (
    -- in entries of 1,000, as pending_keys has them
    select jsonb_agg(e.key order by e.place) as keys
    from jsonb_array_elements(note_trigger_error.keys) with ordinality as e(key, place)
    group by (e.place - 1) / 1000
    union all
    select null where note_trigger_error.keys is null
  ) as k;
exception when others then
  if note_trigger_error.what <> 'chunk' then
    -- Nobody can lock a sequence, and a rollback leaves it as it is. Its number says that a key was lost, and not which.
    perform nextval(format('rowmill.lost_keys_%s', note_trigger_error.pipeline_id)::regclass);
  end if;
  -- Nowhere left to write it down; a warning still reaches the client and the server's log.
  raise warning 'rowmill: pipeline %: % (%)',
    note_trigger_error.pipeline_id, note_trigger_error.message, note_trigger_error.sqlstate;
end;
$$;
comment on function rowmill.note_trigger_error is
  'Writes down what went wrong in a trigger, with the keys that could not be queued: the tick queues them. Where it cannot be '
  'written either, the sequence lost_keys_<pipeline> counts it. Raises where even that fails.';
revoke all on function rowmill.note_trigger_error from public;
