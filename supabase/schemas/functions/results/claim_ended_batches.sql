-- API: worker
create or replace function rowmill.claim_ended_batches(
  worker text,
  max_batches integer,
  again boolean default null -- false: batches that give no trouble; true: the others; null: all
)
returns table (
  batch_id bigint, state text, pipeline_id bigint, provider_status text, provider_errors jsonb,
  input_file_id text, output_file_id text, error_file_id text, output_position bigint, error_position bigint, keep_files boolean,
  pipeline_version integer, tries integer, requests integer, rows_enriched integer, strange_lines bigint
)
language sql
security definer -- the worker has no rights on the tables
set search_path = pg_catalog, pg_temp
as $$
  -- Once for each pipeline, however many of its batches have ended.
  with ended as materialized (
    select distinct b.pipeline_id from rowmill.batch_processing_details as b where b.state = 'ended'
  ), readable as materialized (
    -- Answers for a column that is gone wait for the operator; where a whole table is gone, or a newer version does
    -- without the column, nobody waits.
    select e.pipeline_id
    from ended as e
    join rowmill.pipelines as p on p.id = e.pipeline_id
    where rowmill.structure_problem(e.pipeline_id) is null
    or not exists (select from pg_class as c where c.oid = p.source)
    or not exists (select from pg_class as c where c.oid = p.target)
  ), troubled as materialized (
    -- One bad batch is no reason to distrust its neighbours; several are, and so is one that ended almost without answers:
    -- its files may have been large, and in vain.
    select b.pipeline_id
    from rowmill.batch_processing_details as b
    where b.state in ('ended', 'harvested') and b.tries > 0
    group by b.pipeline_id
    having count(*) >= 3
    union
    select p.id from rowmill.pipelines as p where p.failed_in_row > 0
  ), in_hand as materialized (
    select b.pipeline_id, count(*) as batches
    from rowmill.batch_processing_details as b
    where b.state in ('ended', 'harvested') and b.lease_until >= now() and b.owner is not null
    group by b.pipeline_id
  ), found as (
    select b.id
    from rowmill.batch_processing_details as b
    where b.state in ('ended', 'harvested')
    and (b.lease_until is null or b.lease_until < now())
    and (b.state = 'harvested' or b.pipeline_id in (select r.pipeline_id from readable as r))
    and (
      claim_ended_batches.again is null
      or claim_ended_batches.again = (b.tries > 0 or b.pipeline_id in (select t.pipeline_id from troubled as t))
    )
    -- Pipelines take turns, and so do batches that were tried.
    order by
      coalesce((select h.batches from in_hand as h where h.pipeline_id = b.pipeline_id), 0), b.lease_until nulls first, b.ended_at
    limit claim_ended_batches.max_batches
    for update of b skip locked
  )
  update rowmill.batch_processing_details as b
  set owner = claim_ended_batches.worker, lease_until = now() + s.lease
  from found, rowmill.settings as s
  where b.id = found.id
  returning b.id, b.state, b.pipeline_id, b.provider_status, b.provider_errors,
    b.input_file_id, b.output_file_id, b.error_file_id, b.output_position, b.error_position, s.keep_files, b.pipeline_version, b.tries,
    b.requests, b.rows_enriched, b.lines_unknown + b.lines_duplicate;
$$;
comment on function rowmill.claim_ended_batches is
  'Takes, under a lease, batches whose results are to be read (ended) or whose files are to be deleted (harvested). '
  'Those that failed before, those of a pipeline of which several did, and those of one whose last batch brought almost no answers '
  'are taken apart from the others, so that they hold up none of them.';
revoke all on function rowmill.claim_ended_batches from public;
