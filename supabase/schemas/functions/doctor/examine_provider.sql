-- API: internal
create or replace function rowmill.examine_provider()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found text[];
begin
  select array_agg(f.said order by f.said) into v_found
  from (
    select format('it took no batch of "%s": %s', p.name, p.wait_reason) as said
    from rowmill.pipelines as p where p.state <> 'dropped' and p.wait_until is not null and p.wait_reason is not null
    union all
    select format('its queue for %s is full until %s', m.model, to_char(m.blocked_until at time zone 'UTC', 'HH24:MI:SS UTC'))
    from rowmill.model_states as m where m.blocked_until > now()
    union all
    select format('a look at batch %s failed: %s', b.id, b.problem)
    from rowmill.batch_processing_details as b where b.state in ('preparing', 'running') and b.problem is not null
  ) as f;
  if v_found is null then
    return row('ok', 'workers note nothing against it', null)::rowmill.finding;
  end if;
  return row(
    'warning', rowmill.first_few(v_found),
    'Workers try again by themselves. A wrong key: start them with a right OPENAI_API_KEY; npm run doctor asks the provider itself.'
  )::rowmill.finding;
end;
$$;
comment on function rowmill.examine_provider is
  'What workers noted against the provider: batches that it did not take, looks that failed.';
revoke all on function rowmill.examine_provider from public;
