-- API: internal
create or replace function rowmill.answer_schema(
  source regclass, -- the table that is filled
  columns smallint[] -- its columns by number, in the order in which the model is to write them
)
returns json
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select json_build_object(
    'type', 'object',
    'properties', json_object_agg(
      a.attname,
      rowmill.value_schema(
        a.atttypid,
        not a.attnotnull and not rowmill.forbids_null(a.atttypid),
        col_description(answer_schema.source, a.attnum)
      )
      order by c.place
    ),
    'required', json_agg(a.attname order by c.place),
    'additionalProperties', false
  )
  from unnest(answer_schema.columns) with ordinality as c(attnum, place)
  join pg_attribute as a on a.attrelid = answer_schema.source and a.attnum = c.attnum;
$$;
comment on function rowmill.answer_schema is
  'The strict schema of an answer that fills these columns: a comment describes, "not null" forbids null. '
  'Strict mode wants every property required, so a nullable one may be null instead of missing.';
revoke all on function rowmill.answer_schema from public;
