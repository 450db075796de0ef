-- API: internal
create or replace function rowmill.pipeline_named(name text)
returns rowmill.pipelines
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
begin
  select p.* into v_pipeline from rowmill.pipelines as p where p.name = pipeline_named.name and p.state <> 'dropped';
  if not found then
    raise exception using errcode = 'RM111', message = format('there is no pipeline "%s"', pipeline_named.name),
      detail = coalesce(
        (
          select format('There are: %s.', string_agg(p.name, ', ' order by p.name))
          from rowmill.pipelines as p
          where p.state <> 'dropped'
          having count(*) > 0
        ),
        'There are none.'
      ),
      hint = 'select name from rowmill.pipeline_status;';
  end if;
  return v_pipeline;
end;
$$;
comment on function rowmill.pipeline_named is
  'A pipeline by its name. Raises RM111, with the names that there are.';
revoke all on function rowmill.pipeline_named from public;
