-- API: internal
create or replace function rowmill.settle_failures(
  pipeline_id bigint,
  batch_id bigint,
  -- [{"c": chunk, "n", "h": hash, "class", "code", "message", "retried", "counted", "noted", "delay_seconds"}]; the last two
  -- may be missing. "noted": false goes round again without a word: it says nothing about the row.
  failures jsonb
)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
-- The hash of an input must be the one that read_chunk made.
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
  v_edited jsonb := rowmill.edited_failures(pipeline_id, batch_id, failures);
  v_taken jsonb;
  v_by_class jsonb;
  v_settled integer;
begin
  with taken as (
    delete from rowmill.chunk_rows as t
    using jsonb_to_recordset(settle_failures.failures)
      as f(c bigint, n bigint, h text, class text, code text, message text, retried boolean, counted boolean, noted boolean,
        delay_seconds numeric)
    where t.chunk_id = f.c and t.n = f.n and t.hash = f.h and t.pipeline_id = settle_failures.pipeline_id
    returning t.chunk_id, t.key, t.hash, f.class, f.code, left(f.message, 2000) as message, f.retried, f.counted,
      coalesce(f.noted, true) as noted, f.delay_seconds
  )
  select
    count(*),
    (
      select jsonb_object_agg(c.class, c.rows)
      from (select t.class, count(*) as rows from taken as t where t.noted group by t.class) as c
    ),
    -- A row that was edited meanwhile may be in the batch twice; its latest input counts.
    (
      select coalesce(jsonb_agg(l), '[]')
      from (
        select distinct on (t.key) t.*
        from taken as t
        where not exists (select from jsonb_to_recordset(v_edited) as e(key jsonb, hash text) where e.key = t.key and e.hash = t.hash)
        order by t.key, t.chunk_id desc
      ) as l
    )
  into strict v_settled, v_by_class, v_taken
  from taken;

  perform rowmill.note_failures(settle_failures.pipeline_id, settle_failures.batch_id, v_taken);
  perform rowmill.queue_unfailed(settle_failures.pipeline_id, v_edited, v_taken);
  if v_by_class is not null and settle_failures.batch_id is not null then
    perform rowmill.count_failures(settle_failures.batch_id, v_by_class);
  end if;
  if v_by_class ? 'quota_exhausted' then
    perform rowmill.stop_pipeline(settle_failures.pipeline_id,
      'quota_exhausted: the account has no money or quota left, and more tries would only fail.');
  end if;
  return v_settled;
end;
$$;
comment on function rowmill.settle_failures is
  'Rows in flight that failed: queued again where their class is retried and attempts are left, else named in row_failures. Counts '
  'an attempt where it was one. A row that was edited meanwhile is queued only if it has no answer at all. A row that is not in '
  'flight (any more) is passed over, so that a repetition changes nothing. quota_exhausted pauses the pipeline. Returns how many '
  'were settled.';
revoke all on function rowmill.settle_failures from public;
