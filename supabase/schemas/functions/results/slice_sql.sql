-- API: internal
create or replace function rowmill.slice_sql(
  pipeline_id bigint,
  parts rowmill.source_parts,
  heals boolean, -- whether the pipeline has failures that a success takes away
  queue_position bigint, -- where the queue stands, if the answers are to be remembered; else null
  notes_version boolean -- whether row_versions, locked, is kept
)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  -- It runs under the owner's search_path: every name and every operator of it says where it is.
  select format(
    $sql$
    with taken as (
      delete from rowmill.chunk_rows as t
      using pg_catalog.jsonb_to_recordset($1) as r(c pg_catalog.int8, n pg_catalog.int8, h pg_catalog.text, %1$s)
      where t.chunk_id operator(pg_catalog.=) any ($2) and t.chunk_id operator(pg_catalog.=) r.c
      and t.n operator(pg_catalog.=) r.n and t.hash operator(pg_catalog.=) r.h
      returning t.key, t.hash, r.*
    ), %2$s%3$s%4$s%5$s
    select
      (select pg_catalog.count(*) from taken),
      (select pg_catalog.count(*) from written),
      %6$s,
      (
        select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('key', t.key, 'hash', t.hash))
        from taken as t
        where (select pg_catalog.count(*) from taken) operator(pg_catalog.<>) (select pg_catalog.count(*) from written)
        and not exists (select from written as w where w.key operator(pg_catalog.=) t.key)
      )
    $sql$,
    (parts).value_columns,
    rowmill.written_sql(parts),
    case when slice_sql.heals then
      format(
        $sql$, ill as (
          select f.key
          from rowmill.failures as f
          join written as w on pg_catalog.md5(f.key::pg_catalog.text) operator(pg_catalog.=) pg_catalog.md5(w.key::pg_catalog.text)
          where f.pipeline_id operator(pg_catalog.=) %1$s
          order by pg_catalog.md5(f.key::pg_catalog.text) using operator(pg_catalog.<)
          for update of f
        ), healed as (
          delete from rowmill.failures as f
          using ill
          where f.pipeline_id operator(pg_catalog.=) %1$s
          and pg_catalog.md5(f.key::pg_catalog.text) operator(pg_catalog.=) pg_catalog.md5(ill.key::pg_catalog.text)
        )$sql$,
        slice_sql.pipeline_id
      )
    end,
    case when slice_sql.queue_position is not null then
      format(
        $sql$, remembered as (
          insert into rowmill.answered_rows (pipeline_id, key, hash, queue_position) select %s, w.key, w.hash, %s from written as w
        )$sql$,
        slice_sql.pipeline_id, slice_sql.queue_position
      )
    end,
    case when slice_sql.notes_version then
      format(
        $sql$, versioned as (
          update rowmill.row_versions as v
          set version = $6
          from written as w
          where v.pipeline_id operator(pg_catalog.=) %s
          and pg_catalog.md5(v.key::pg_catalog.text) operator(pg_catalog.=) pg_catalog.md5(w.key::pg_catalog.text)
          and v.version operator(pg_catalog.<) $6
        )$sql$,
        slice_sql.pipeline_id
      )
    end,
    case when (parts).target is null then 'null::pg_catalog.int8' else '(select pg_catalog.count(*) from put)' end
  );
$$;
comment on function rowmill.slice_sql is
  'The statement that writes a slice and settles its rows in flight. $1 answers, $2 chunks, and as provenance has them: $3 batch, '
  '$4 model, $5 time, $6 version. It returns how many rows it took, wrote and put into the target, and those that it did not write.';
revoke all on function rowmill.slice_sql from public;
