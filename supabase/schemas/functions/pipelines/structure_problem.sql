-- API: internal
create or replace function rowmill.structure_problem(
  pipeline_id bigint,
  version integer default null -- null: the current one
)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.definition_of(pipeline_id, version);
  v_lost text;
begin
  if v_pipeline.id is null then
    return format('there is no version %s of pipeline %s', structure_problem.version, structure_problem.pipeline_id);
  end if;
  if not exists (select from pg_class as c where c.oid = v_pipeline.source) then
    return format('the source table %s was dropped; drop_pipeline(%L) ends the pipeline', v_pipeline.source_name, v_pipeline.name);
  end if;
  if not exists (select from pg_class as c where c.oid = v_pipeline.target) then
    return format('the target table %s was dropped; drop_pipeline(%L) ends the pipeline', v_pipeline.target_name, v_pipeline.name);
  end if;

  select string_agg(format('%s %s', w.role, w.name), ', ' order by w.role, w.name) into v_lost
  from (
    select v_pipeline.source as relation, 'key column' as role, k.attnum::text as name, k.attnum::integer as attnum
    from unnest(v_pipeline.key_columns) as k(attnum)
    union all
    select v_pipeline.source, 'input column', i.value ->> 'name', (i.value ->> 'attnum')::integer
    from jsonb_array_elements(v_pipeline.inputs) as i
    union all
    select v_pipeline.source, 'filter column', f.value ->> 'name', (f.value ->> 'attnum')::integer
    from jsonb_array_elements(v_pipeline.filter_columns) as f
    union all
    select v_pipeline.target, 'output column', o.value ->> 'name', (o.value ->> 'attnum')::integer
    from jsonb_array_elements(v_pipeline.outputs) as o
    union all
    select v_pipeline.target, 'provenance column', o.value ->> 'name', (o.value ->> 'attnum')::integer
    from jsonb_array_elements(v_pipeline.provenance) as o
    union all
    select v_pipeline.target, 'target''s key column', k.attnum::text, k.attnum::integer
    from unnest(v_pipeline.target_key_columns) as k(attnum)
    where v_pipeline.target <> v_pipeline.source
  ) as w
  where rowmill.column_name(w.relation, w.attnum) is null;
  if v_lost is not null then
    return format('dropped from %s: %s; drop_pipeline(%L) and create it again without, or alter_pipeline where it is no key',
      concat_ws(' or ', v_pipeline.source, nullif(v_pipeline.target, v_pipeline.source)),
      v_lost, v_pipeline.name);
  end if;

  if v_pipeline.target <> v_pipeline.source and not rowmill.has_unique_index(v_pipeline.target, v_pipeline.target_key_columns) then
    return format('the unique index of %s over its key was dropped: alter table %1$s add unique (%s);', v_pipeline.target, (
      select string_agg(quote_ident(rowmill.column_name(v_pipeline.target, k.attnum)), ', ' order by k.place)
      from unnest(v_pipeline.target_key_columns) with ordinality as k(attnum, place)
    ));
  end if;
  return rowmill.trust_problem(array[v_pipeline.source, v_pipeline.target], v_pipeline.filter_uses);
end;
$$;
comment on function rowmill.structure_problem is
  'Why the rows of a pipeline''s tables can neither be read nor written, in words: something is gone, or somebody else''s code would run '
  'with the rights of Rowmill''s owner. null where nothing is wrong.';
revoke all on function rowmill.structure_problem from public;
