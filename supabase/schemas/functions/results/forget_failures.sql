-- API: internal
create or replace function rowmill.forget_failures(pipeline_id bigint, max_failures integer)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
-- The hash of an input must be the one that read_chunk made.
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
  v_pipeline rowmill.pipelines;
  v_parts rowmill.source_parts := rowmill.source_parts_of(pipeline_id);
  v_keys jsonb;
  v_last text;
  v_looked_at integer;
  v_forgotten integer;
begin
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = forget_failures.pipeline_id;
  -- A thousand at a time, round and round, in the order of the index.
  select jsonb_agg(f.key), max(f.digest), count(*) into strict v_keys, v_last, v_looked_at
  from (
    select f.key, md5(f.key::text) as digest
    from rowmill.failures as f
    where f.pipeline_id = v_pipeline.id and md5(f.key::text) > v_pipeline.failures_checked_to
    order by md5(f.key::text)
    limit forget_failures.max_failures
  ) as f;
  v_forgotten := 0;
  if v_looked_at > 0 then
    execute format(
      $sql$
      with known as (
        select e.value as key from jsonb_array_elements($1) as e(value)
      ), same as (
        select k.key, %3$s as hash from known as k join %1$s as s on %2$s
      ), forgotten as (
        select f.ctid
        from rowmill.failures as f
        join known as k on md5(k.key::text) = md5(f.key::text)
        left join same as m on m.key = k.key
        where f.pipeline_id = $2
        -- A row that failed under an older version is none that was edited: its hash is another one anyway.
        and (m.key is null or m.hash is distinct from f.hash and $3 = coalesce(
          (select b.pipeline_version from rowmill.batch_processing_details as b where b.id = f.batch_id), 1
        ))
        order by md5(f.key::text)
        for update of f skip locked
      )
      delete from rowmill.failures as f using forgotten as g where f.ctid = g.ctid
      $sql$,
      v_parts.relation, v_parts.key_match, v_parts.hash
    )
    using v_keys, v_pipeline.id, v_pipeline.version;
    get diagnostics v_forgotten = row_count;
  end if;
  update rowmill.pipelines as p
  set failures_checked_to = case when v_looked_at < forget_failures.max_failures then '' else v_last end
  where p.id = v_pipeline.id
  and p.failures_checked_to <> case when v_looked_at < forget_failures.max_failures then '' else v_last end;
  return v_forgotten;
end;
$$;
comment on function rowmill.forget_failures is
  'Looks at some failures of a pipeline, further each time, and forgets those whose row is gone or was edited since; returns how '
  'many. The edit itself is queued by its trigger.';
revoke all on function rowmill.forget_failures from public;
