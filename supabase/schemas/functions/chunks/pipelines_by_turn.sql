-- API: internal
create or replace function rowmill.pipelines_by_turn(
  done bigint[] -- pipelines that are left out
)
returns table (pipeline_id bigint, sharers integer)
language plpgsql -- unlike one in SQL, it keeps its plan from call to call
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  with waiting as (
    select distinct on (c.pipeline_id) c.pipeline_id, c.id as oldest
    from rowmill.chunks as c
    cross join rowmill.settings as s
    where c.state = 'waiting'
    and (c.waits_for is not null or c.posted_at is null or c.posted_at < now() - s.fetch_after)
    order by c.pipeline_id, c.id
  )
  select p.id, count(*) over (partition by p.model)::integer
  from waiting as w
  join rowmill.pipelines as p on p.id = w.pipeline_id
  where p.state = 'active' and p.id <> all (pipelines_by_turn.done) and rowmill.structure_problem(p.id) is null
  -- Whoever has least of the queue is first.
  order by (
    select coalesce(sum(b.reserved_tokens), 0)
    from rowmill.batch_processing_details as b
    where b.pipeline_id = p.id and b.state in ('preparing', 'running')
  ) + (
    select coalesce(sum(c.row_count), 0)
    from rowmill.chunks as c
    where c.pipeline_id = p.id and c.state = 'accepted'
  ), (
    -- Of several that have none, whoever had its turn longest ago.
    select max(b.id) from rowmill.batch_processing_details as b where b.pipeline_id = p.id
  ) nulls first, w.oldest;
end;
$$;
comment on function rowmill.pipelines_by_turn is
  'Active pipelines with chunks for claim_work, the next first, each with how many of them share its model.';
revoke all on function rowmill.pipelines_by_turn from public;
