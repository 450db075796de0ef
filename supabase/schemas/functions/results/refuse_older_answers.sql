-- API: internal
create or replace function rowmill.refuse_older_answers(
  batch rowmill.batch_processing_details,
  chunk_ids bigint[],
  answers jsonb -- [{"c": chunk, "n", "h": hash, …}]
)
returns integer
language sql
set search_path = pg_catalog, pg_temp
as $$
  with refused as (
    delete from rowmill.chunk_rows as t
    using jsonb_to_recordset(refuse_older_answers.answers) as r(c bigint, n bigint, h text), rowmill.row_versions as v
    where t.chunk_id = any (refuse_older_answers.chunk_ids) and t.chunk_id = r.c and t.n = r.n and t.hash = r.h
    and v.pipeline_id = (refuse_older_answers.batch).pipeline_id and md5(v.key::text) = md5(t.key::text)
    and v.version > (refuse_older_answers.batch).pipeline_version
    returning t.n
  )
  select count(*)::integer from refused;
$$;
comment on function rowmill.refuse_older_answers is
  'Settles the rows of a batch that a newer version than the batch''s has answered meanwhile; returns how many.';
revoke all on function rowmill.refuse_older_answers from public;
