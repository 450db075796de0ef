-- API: internal
create or replace function rowmill.check_cycle(definition rowmill.pipelines)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_path text;
begin
  -- Follow what is filled from here, pipeline by pipeline and table by table; coming back to what asks for our own rows
  -- again is a loop that never ends paying.
  with recursive others as (
    select p.name, p.source, p.target, p.inputs || p.filter_columns as reads, p.outputs || p.provenance as fills
    from rowmill.pipelines as p
    where p.state <> 'dropped' and p.id is distinct from definition.id
  ), filled(relation, attnum, path) as (
    select definition.target, o.value -> 'attnum', array[]::text[]
    from jsonb_array_elements(definition.outputs || definition.provenance) as o
    union
    select p.target, o.value -> 'attnum', f.path || p.name
    from filled as f
    join others as p on p.source = f.relation and p.name <> all (f.path)
    cross join lateral jsonb_array_elements(p.fills) as o
    where p.reads @> jsonb_build_array(jsonb_build_object('attnum', f.attnum))
    -- a pipeline's own outputs never ask it again
    and not (p.target = p.source and p.fills @> jsonb_build_array(jsonb_build_object('attnum', f.attnum)))
  )
  select array_to_string(f.path, ' -> ') into v_path
  from filled as f
  where f.relation = definition.source
  and definition.inputs || definition.filter_columns @> jsonb_build_array(jsonb_build_object('attnum', f.attnum))
  and not (
    definition.target = definition.source
    and definition.outputs || definition.provenance @> jsonb_build_array(jsonb_build_object('attnum', f.attnum))
  )
  limit 1;
  if v_path is not null then
    raise exception using errcode = 'RM108', message = 'this pipeline and others would feed each other for ever',
      detail = format('Its output comes back as its input through: %s.', v_path),
      hint = 'Take one of the columns out of a prompt, a filter or the outputs.';
  end if;
end;
$$;
comment on function rowmill.check_cycle is
  'Raises RM108 where chained pipelines would form a loop, over however many tables.';
revoke all on function rowmill.check_cycle from public;
