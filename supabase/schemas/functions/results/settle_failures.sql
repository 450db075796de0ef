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
#variable_conflict use_column
declare
  v_max_attempts integer;
  v_version integer;
  v_parts rowmill.source_parts;
  v_edited jsonb := '[]'::jsonb;
  v_by_class jsonb;
  v_settled integer;
begin
  select p.max_attempts into strict v_max_attempts from rowmill.pipelines as p where p.id = settle_failures.pipeline_id;

  -- A row that was edited meanwhile did not fail: its edit is queued, or answered already. It goes the way of a stale
  -- answer, and costs it no attempt. So does one that a newer version has answered meanwhile.
  select b.pipeline_version into v_version from rowmill.batch_processing_details as b where b.id = settle_failures.batch_id;
  if rowmill.structure_problem(settle_failures.pipeline_id, v_version) is null then
    v_parts := rowmill.source_parts_of(settle_failures.pipeline_id, v_version);
    execute format(
      $sql$
      select coalesce(jsonb_agg(jsonb_build_object('key', k.key, 'hash', k.hash)), '[]')
      from jsonb_to_recordset($1) as f(c bigint, n integer, h text)
      join rowmill.chunk_rows as k on k.chunk_id = f.c and k.n = f.n and k.hash = f.h and k.pipeline_id = $2
      join %1$s as s on %2$s
      where %3$s <> k.hash or exists (
        select from rowmill.row_versions as v where v.pipeline_id = $2 and md5(v.key::text) = md5(k.key::text) and v.version > $3
      )
      $sql$,
      v_parts.relation, v_parts.key_match, v_parts.hash
    )
    into strict v_edited
    using settle_failures.failures, settle_failures.pipeline_id, v_version;
  end if;

  with edited as (
    select e.key, e.hash from jsonb_to_recordset(v_edited) as e(key jsonb, hash text)
  ), taken as (
    delete from rowmill.chunk_rows as t
    using jsonb_to_recordset(settle_failures.failures)
      as f(c bigint, n integer, h text, class text, code text, message text, retried boolean, counted boolean, noted boolean, delay_seconds integer)
    where t.chunk_id = f.c and t.n = f.n and t.hash = f.h and t.pipeline_id = settle_failures.pipeline_id
    returning t.chunk_id, t.key, t.hash, f.class, f.code, left(f.message, 2000) as message, f.retried, f.counted,
      coalesce(f.noted, true) as noted, f.delay_seconds
  ), latest as (
    -- A row that was edited meanwhile may be in the batch twice; its latest input counts.
    select distinct on (t.key) t.*
    from taken as t
    where not exists (select from edited as e where e.key = t.key and e.hash = t.hash)
    order by t.key, t.chunk_id desc
  ), noted as (
    insert into rowmill.failures as f (pipeline_id, key, hash, error_class, code, message, attempts, truncations, is_final, batch_id)
    select
      settle_failures.pipeline_id, t.key, t.hash, t.class, t.code, t.message,
      t.counted::integer, (t.class = 'truncated')::integer,
      not t.retried or t.counted::integer >= v_max_attempts, settle_failures.batch_id
    from latest as t
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
  ), again as (
    insert into rowmill.pending_keys (pipeline_id, keys, row_count, queued_at)
    select
      settle_failures.pipeline_id, jsonb_agg(q.key), count(*),
      now() + q.delay
    from (
      select d.key, d.delay, (row_number() over (partition by d.delay) - 1) / 1000 as slice
      from (
        select t.key, case
          -- (least passes over nulls)
          when t.delay_seconds is not null then least(t.delay_seconds * interval '1 second', s.retry_after * 4)
          -- doubled for each attempt, an hour at most; at once where it was no attempt
          when t.counted then least(s.retry_after * power(2, n.attempts - 1), interval '1 hour')
          else '0'::interval
        end as delay
        from latest as t
        left join noted as n on n.key = t.key
        cross join rowmill.settings as s
        where n.is_final is not true
      ) as d
    ) as q
    group by q.delay, q.slice
  ), unfailed as (
    insert into rowmill.pending_keys (pipeline_id, keys, row_count, only_missing)
    select settle_failures.pipeline_id, jsonb_agg(e.key), count(*), true
    from (
      select d.key, (row_number() over () - 1) / 1000 as slice
      from (select distinct e.key from edited as e where e.key not in (select t.key from latest as t)) as d
    ) as e
    group by e.slice
  )
  select
    (select count(*) from taken),
    (select jsonb_object_agg(c.class, c.rows) from (select t.class, count(*) as rows from taken as t where t.noted group by t.class) as c)
  into strict v_settled, v_by_class;

  if v_by_class is not null and settle_failures.batch_id is not null then
    update rowmill.batch_processing_details as b
    set failed_by_class = (
      select jsonb_object_agg(s.class, s.rows)
      from (
        select e.key as class, sum(e.value::integer) as rows
        from (select * from jsonb_each_text(b.failed_by_class) union all select * from jsonb_each_text(v_by_class)) as e
        group by e.key
      ) as s
    )
    where b.id = settle_failures.batch_id;
  end if;
  if v_by_class ? 'quota_exhausted' then
    perform rowmill.stop_pipeline(settle_failures.pipeline_id,
      'quota_exhausted: the account has no money or quota left, and more tries would only fail.');
  end if;
  return v_settled;
end;
$$;
comment on function rowmill.settle_failures is
   'Rows in flight that failed: queued again where their class is retried and attempts are left, else named in row_failures. Counts an attempt where it was one. A row that was edited meanwhile is queued only if it has no answer at all. A row that is not in flight (any more) is passed over, so that a repetition changes nothing. quota_exhausted pauses the pipeline. Returns how many were settled.';
revoke all on function rowmill.settle_failures from public;
