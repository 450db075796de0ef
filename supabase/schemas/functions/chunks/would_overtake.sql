-- API: internal
create or replace function rowmill.would_overtake(pipeline_id bigint, model text)
returns boolean
language plpgsql -- unlike one in SQL, it keeps its plan from call to call
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select
    from rowmill.chunks as c
    join rowmill.pipelines as p on p.id = c.pipeline_id
    where c.waits_for is not null and p.state = 'active'
    and (
      c.pipeline_id = would_overtake.pipeline_id
      or c.waits_for = 'rate'
      or c.waits_for in ('tokens', 'turn') and p.model = would_overtake.model
    )
  );
end;
$$;
comment on function rowmill.would_overtake is
  'Whether chunks wait for the room that a new chunk of this pipeline would take: who comes later does not overtake them.';
revoke all on function rowmill.would_overtake from public;
