-- API: internal
create or replace function rowmill.edited_failures(
  pipeline_id bigint,
  batch_id bigint,
  failures jsonb -- [{"c": chunk, "n", "h": hash, …}]
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_version integer := (select b.pipeline_version from rowmill.batch_processing_details as b where b.id = edited_failures.batch_id);
  v_parts rowmill.source_parts;
  v_edited jsonb;
begin
  if rowmill.structure_problem(edited_failures.pipeline_id, v_version) is not null then
    return '[]'::jsonb;
  end if;
  v_parts := rowmill.source_parts_of(edited_failures.pipeline_id, v_version);
  execute format(
    $sql$
    select coalesce(jsonb_agg(jsonb_build_object('key', k.key, 'hash', k.hash)), '[]')
    from jsonb_to_recordset($1) as f(c bigint, n bigint, h text)
    join rowmill.chunk_rows as k on k.chunk_id = f.c and k.n = f.n and k.hash = f.h and k.pipeline_id = $2
    join %1$s as s on %2$s
    where %3$s <> k.hash or exists (
      select
      from rowmill.row_versions as v
      where v.pipeline_id = $2 and md5(v.key::text) = md5(k.key::text) and v.version > $3
    )
    $sql$,
    v_parts.relation, v_parts.key_match, v_parts.hash
  )
  into strict v_edited
  using edited_failures.failures, edited_failures.pipeline_id, v_version;
  return v_edited;
end;
$$;
comment on function rowmill.edited_failures is
  'Those of the rows that did not fail: edited meanwhile, so that the edit is queued or answered already, or answered by a newer '
  'version. They go the way of a stale answer, and it costs them no attempt. [{"key", "hash"}]';
revoke all on function rowmill.edited_failures from public;
