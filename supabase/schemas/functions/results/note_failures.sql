-- API: internal
create or replace function rowmill.note_failures(
  pipeline_id bigint,
  batch_id bigint,
  failed jsonb -- [{"key", "hash", "class", "code", "message", "retried", "counted", "noted", "delay_seconds"}]; no key twice
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_max_attempts integer;
begin
  select p.max_attempts into strict v_max_attempts from rowmill.pipelines as p where p.id = note_failures.pipeline_id;
  with failed as (
    select f.*
    from jsonb_to_recordset(note_failures.failed)
      as f(key jsonb, hash text, class text, code text, message text, retried boolean, counted boolean, noted boolean,
        delay_seconds numeric)
  ), noted as (
    insert into rowmill.failures as f (pipeline_id, key, hash, error_class, code, message, attempts, truncations, is_final, batch_id)
    select
      note_failures.pipeline_id, t.key, t.hash, t.class, t.code, t.message,
      t.counted::integer, (t.class = 'truncated')::integer,
      not t.retried or t.counted::integer >= v_max_attempts, note_failures.batch_id
    from failed as t
    where t.noted
    order by md5(t.key::text) -- one order for all sessions: no deadlock
    on conflict (pipeline_id, md5(key::text)) do update
    set
      hash = excluded.hash,
      error_class = excluded.error_class,
      code = excluded.code,
      message = excluded.message,
      attempts = excluded.attempts + case when f.hash = excluded.hash then f.attempts else 0 end,
      truncations = excluded.truncations + case when f.hash = excluded.hash then f.truncations else 0 end,
      is_final = excluded.is_final
        or excluded.attempts + case when f.hash = excluded.hash then f.attempts else 0 end >= v_max_attempts,
      batch_id = excluded.batch_id,
      last_at = now()
    returning f.key, f.is_final, f.attempts
  )
  insert into rowmill.pending_keys (pipeline_id, keys, row_count, queued_at)
  select note_failures.pipeline_id, jsonb_agg(q.key), count(*), now() + q.delay
  from (
    select d.key, d.delay, (row_number() over (partition by d.delay) - 1) / 1000 as slice
    from (
      select t.key, case
        -- (least passes over nulls)
        when t.delay_seconds is not null then least(rowmill.clamped(t.delay_seconds, 86400) * interval '1 second', s.retry_after * 4)
        -- doubled for each attempt, an hour at most; at once where it was no attempt
        when t.counted then least(s.retry_after * power(2, least(n.attempts - 1, 30)), interval '1 hour')
        else '0'::interval
      end as delay
      from failed as t
      left join noted as n on n.key = t.key
      cross join rowmill.settings as s
      where n.is_final is not true
    ) as d
  ) as q
  group by q.delay, q.slice;
end;
$$;
comment on function rowmill.note_failures is
  'Counts the attempts of rows that failed, and queues those again that have some left, each after its delay.';
revoke all on function rowmill.note_failures from public;
