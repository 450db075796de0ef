-- A worker asks under one version and reads answers under the one that asked.
-- Workers must stop before a pipeline is altered: an older one would read the answers of an older version with the
-- newer definition.

drop function rowmill.get_pipeline(bigint);

-- API: worker
create function rowmill.get_pipeline(
  pipeline_id bigint,
  version integer default null -- null: the current one
)
returns json
language sql
stable
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
  select json_build_object(
    'id', p.id, 'name', p.name, 'version', p.version,
    'instructions', p.instructions, 'prompt', p.prompt, 'placeholder_style', p.placeholder_style,
    'inputs', (select json_agg(i.value -> 'name' order by i.place) from jsonb_array_elements(p.inputs) with ordinality as i(value, place)),
    'outputs', (select json_agg(json_build_object('name', o.value -> 'name', 'encoding', o.value -> 'encoding') order by o.place) from jsonb_array_elements(p.outputs) with ordinality as o(value, place)),
    'model', p.model, 'endpoint', p.endpoint, 'format', p.format, 'params', p.params,
    'response_schema_text', p.response_schema::text
  )
  from rowmill.definition_of(get_pipeline.pipeline_id, get_pipeline.version) as p
  where p.id is not null;
$$;
comment on function rowmill.get_pipeline(bigint, integer) is 'What a worker must know of a version of a pipeline to ask and to read answers; null where there is none. The schema comes as text: the order of its properties matters.';
revoke all on function rowmill.get_pipeline(bigint, integer) from public;

drop function rowmill.claim_ended_batches(text, integer);

-- API: worker
create function rowmill.claim_ended_batches(worker text, max_batches integer)
returns table (
  batch_id bigint, state text, pipeline_id bigint, provider_status text, provider_errors jsonb,
  input_file_id text, output_file_id text, error_file_id text, output_position bigint, error_position bigint, keep_files boolean,
  pipeline_version integer
)
language sql
security definer -- the worker has no rights on the tables
set search_path = ''
as $$
  with found as (
    select b.id
    from rowmill.batch_processing_details as b
    join rowmill.pipelines as p on p.id = b.pipeline_id
    where b.state in ('ended', 'harvested')
    and (b.lease_until is null or b.lease_until < now())
    -- Answers for a column that is gone wait for the operator; where a whole table is gone, or a newer version does
    -- without the column, nobody waits.
    and (
      b.state = 'harvested'
      or rowmill.structure_problem(p.id) is null
      or not exists (select from pg_class as c where c.oid = p.source)
      or not exists (select from pg_class as c where c.oid = p.target)
    )
    order by b.ended_at
    limit claim_ended_batches.max_batches
    for update of b skip locked
  )
  update rowmill.batch_processing_details as b
  set owner = claim_ended_batches.worker, lease_until = now() + s.lease
  from found, rowmill.settings as s
  where b.id = found.id
  returning b.id, b.state, b.pipeline_id, b.provider_status, b.provider_errors,
    b.input_file_id, b.output_file_id, b.error_file_id, b.output_position, b.error_position, s.keep_files, b.pipeline_version;
$$;
comment on function rowmill.claim_ended_batches(text, integer) is 'Takes, under a lease, batches whose results are to be read (ended) or whose files are to be deleted (harvested).';
revoke all on function rowmill.claim_ended_batches(text, integer) from public;
