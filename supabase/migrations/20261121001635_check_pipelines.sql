-- Pipelines: their triggers, what stopped them, the provider, prices. Workers need not stop.

-- API: internal
create function rowmill.examine_triggers()
returns rowmill.finding
language plpgsql
stable
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines;
  v_missing text;
  v_disabled record;
  v_errors record;
  v_found text[] := '{}'::text[];
  v_remedies text[] := '{}'::text[];
  v_notes text[] := '{}'::text[];
begin
  for v_pipeline in
    select p.* from rowmill.pipelines as p join pg_class as c on c.oid = p.source where p.state <> 'dropped' order by p.id
  loop
    select string_agg(distinct format('%s on %s', w.name, w.relation), ', ') into v_missing
    from (
      select format('rowmill_%s_update', v_pipeline.id) as name, v_pipeline.source as relation
      union all select format('rowmill_%s_insert', v_pipeline.id), v_pipeline.source
      -- Rows that are inserted straight into a partition fire its own statement triggers.
      union all select format('rowmill_%s_insert', v_pipeline.id), t.relid from pg_partition_tree(v_pipeline.source) as t
    ) as w
    where not exists (select from pg_trigger as t where t.tgrelid = w.relation and t.tgname = w.name);
    if v_missing is not null then
      v_found := v_found || format('"%s" lacks %s, so that rows are not queued', v_pipeline.name, v_missing);
      v_remedies := v_remedies
        || format('select rowmill.write_trigger_functions(%1$s); select rowmill.attach_triggers(%1$s); select rowmill.backfill(%2$L, only_missing => true);', v_pipeline.id, v_pipeline.name);
    end if;
    for v_disabled in
      select t.tgrelid::regclass as relation, t.tgname as name
      from pg_trigger as t
      where t.tgrelid in (select v_pipeline.source union select p.relid from pg_partition_tree(v_pipeline.source) as p)
      and t.tgname like format('rowmill\_%s\_%%', v_pipeline.id) and t.tgenabled in ('D', 'R')
      order by 1, 2
    loop
      v_found := v_found || format('%s on %s is disabled, so that rows are not queued', v_disabled.name, v_disabled.relation);
      v_remedies := v_remedies || format('alter table %s enable trigger %I;', v_disabled.relation, v_disabled.name);
    end loop;

    select count(*) as times, bool_or(e.keys_lost) as are_lost, (array_agg(e.message order by e.keys_lost desc, e.happened_at desc))[1] as message
    into v_errors
    from (
      select e.message, e.keys_lost, e.happened_at from rowmill.trigger_errors as e
      where e.pipeline_id = v_pipeline.id order by e.happened_at desc limit 1000
    ) as e;
    if v_errors.are_lost then
      v_found := v_found || format('rows of "%s" could not be queued: %s', v_pipeline.name, v_errors.message);
      v_remedies := v_remedies || format('select rowmill.backfill(%L, only_missing => true);', v_pipeline.name);
    elsif v_errors.times > 0 then
      v_notes := v_notes || format('"%s": %s (%s times; the tick makes it good)', v_pipeline.name, v_errors.message, v_errors.times);
    end if;
  end loop;

  if exists (
    select from pg_db_role_setting as s cross join lateral unnest(s.setconfig) as c(setting)
    where s.setdatabase in (0, (select d.oid from pg_database as d where d.datname = current_database()))
    and c.setting = 'session_replication_role=replica'
  ) or current_setting('session_replication_role') = 'replica' then
    v_found := v_found || 'session_replication_role is replica for some role or database, whose inserts fire no triggers'::text;
    v_remedies := v_remedies || 'alter role … reset session_replication_role; or alter database … reset session_replication_role;'::text;
  end if;
  return case
    when cardinality(v_found) > 0 then row('fault', rowmill.first_few(v_found), array_to_string(v_remedies, ' '))::rowmill.finding
    when cardinality(v_notes) > 0 then row('note', rowmill.first_few(v_notes), 'Should it stay for more than a minute, look at pipelines.')::rowmill.finding
    else row('ok', 'in place and enabled', null)::rowmill.finding
  end;
end;
$$;
comment on function rowmill.examine_triggers() is 'Whether every pipeline''s triggers are there and enabled, on its table and the partitions, and what went wrong in them.';
revoke all on function rowmill.examine_triggers() from public;

-- API: internal
create function rowmill.examine_pipelines()
returns rowmill.finding
language plpgsql
stable
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines;
  v_structure text;
  v_verdict text := 'ok';
  v_found text[] := '{}'::text[];
  v_remedies text[] := '{}'::text[];
  v_count integer := 0;
begin
  for v_pipeline in select p.* from rowmill.pipelines as p where p.state <> 'dropped' order by p.id loop
    v_count := v_count + 1;
    v_structure := rowmill.structure_problem(v_pipeline.id);
    if v_structure is not null then
      v_verdict := 'fault';
      v_found := v_found || format('"%s": %s', v_pipeline.name, v_structure);
      v_remedies := v_remedies || format('select rowmill.drop_pipeline(%L); and create it again.', v_pipeline.name);
    elsif v_pipeline.state = 'paused' then
      v_verdict := case when v_pipeline.state_reason is not null and v_verdict <> 'fault' then 'warning' when v_verdict = 'ok' then 'note' else v_verdict end;
      v_found := v_found || format('"%s" is paused: %s', v_pipeline.name, coalesce(v_pipeline.state_reason, 'by hand'));
      v_remedies := v_remedies || format('select rowmill.resume_pipeline(%L);', v_pipeline.name);
    elsif v_pipeline.problem is not null then
      v_verdict := case when v_verdict = 'fault' then 'fault' else 'warning' end;
      v_found := v_found || format('"%s", %s: %s', v_pipeline.name, rowmill.ago(v_pipeline.problem_at), v_pipeline.problem);
      v_remedies := v_remedies || format('Mend what it says about "%s"; it goes on by itself.', v_pipeline.name);
    end if;
  end loop;
  if v_count = 0 then
    return row('note', 'there is none', 'select rowmill.create_pipeline(…), as the README has it.')::rowmill.finding;
  end if;
  if v_verdict = 'ok' then
    return row('ok', format('%s without a problem', v_count), null)::rowmill.finding;
  end if;
  return row(v_verdict, rowmill.first_few(v_found), array_to_string(v_remedies, ' '))::rowmill.finding;
end;
$$;
comment on function rowmill.examine_pipelines() is 'Pipelines that are paused or have a problem.';
revoke all on function rowmill.examine_pipelines() from public;

-- API: internal
create function rowmill.examine_provider()
returns rowmill.finding
language plpgsql
stable
set search_path = ''
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
  return row('warning', rowmill.first_few(v_found), 'Workers try again by themselves. A wrong key: start them with a right OPENAI_API_KEY; npm run doctor asks the provider itself.')::rowmill.finding;
end;
$$;
comment on function rowmill.examine_provider() is 'What workers noted against the provider: batches that it did not take, looks that failed.';
revoke all on function rowmill.examine_provider() from public;

-- API: internal
create function rowmill.examine_prices()
returns rowmill.finding
language plpgsql
stable
set search_path = ''
as $$
declare
  v_stuck text[];
  v_unknown text[];
  v_insert text := 'insert into rowmill.model_prices (model, input_usd, cached_input_usd, output_usd, as_of) values (%L, …, …, …, current_date); in dollars for a million tokens';
begin
  select
    array_agg(distinct p.model order by p.model) filter (where coalesce(p.budget_usd, p.daily_budget_usd, s.budget_usd, s.daily_budget_usd) is not null),
    array_agg(distinct p.model order by p.model)
  into v_stuck, v_unknown
  from rowmill.pipelines as p
  cross join rowmill.settings as s
  where p.state <> 'dropped' and rowmill.price_of(p.model) is null;
  return case
    when v_stuck is not null then row(
      'fault', format('none is known for %s, and a budget holds: nothing is sent', array_to_string(v_stuck, ', ')), format(v_insert, v_stuck[1])
    )::rowmill.finding
    when v_unknown is not null then row(
      'note', format('none is known for %s, so that costs are not', array_to_string(v_unknown, ', ')), format(v_insert, v_unknown[1])
    )::rowmill.finding
    else row('ok', 'known for every pipeline''s model', null)::rowmill.finding
  end;
end;
$$;
comment on function rowmill.examine_prices() is 'Whether model_prices knows the pipelines'' models: without a price, no budget can be kept.';
revoke all on function rowmill.examine_prices() from public;
