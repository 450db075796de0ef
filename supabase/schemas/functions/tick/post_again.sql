-- API: internal
create or replace function rowmill.post_again(max_chunks integer)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_chunk record;
  v_posted integer := 0;
begin
  if not rowmill.can_post() then
    return 0;
  end if;
  for v_chunk in
    select c.id, c.pipeline_id
    from rowmill.chunks as c
    join rowmill.pipelines as p on p.id = c.pipeline_id
    cross join rowmill.settings as s
    where c.state = 'waiting' and p.state = 'active'
    and c.waits_for is null -- its post was heard
    and (c.posted_at is null or c.posted_at < now() - least(s.repost_after * power(2, least(c.posts - 1, 10)), interval '1 hour'))
    order by c.id
    limit post_again.max_chunks
  loop
    begin
      if rowmill.post_chunk(v_chunk.id) then
        v_posted := v_posted + 1;
      end if;
    exception when others then
      perform rowmill.note_tick_problem(v_chunk.pipeline_id, 'a chunk could not be posted: ' || sqlerrm);
    end;
  end loop;
  return v_posted;
end;
$$;
comment on function rowmill.post_again is
  'Posts chunks that were posted and accepted by nobody, less and less often, and those that could not be posted; returns how many.';
revoke all on function rowmill.post_again from public;
