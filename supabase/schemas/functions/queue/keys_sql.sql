-- API: internal
create or replace function rowmill.keys_sql(pipeline_id bigint)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    -- Numbers and uuids need no escaping: a third of the time that building JSON value by value takes.
    when count(*) = 1 and bool_and(a.atttypid in ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype))
      then format($sql$('[[' || string_agg(s.%I::text, '],[') || ']]')::jsonb$sql$, min(a.attname))
    when count(*) = 1 and bool_and(a.atttypid = 'uuid'::regtype)
      then format($sql$('[["' || string_agg(s.%I::text, '"],["') || '"]]')::jsonb$sql$, min(a.attname))
    else format('jsonb_agg(jsonb_build_array(%s))', rowmill.key_elements(keys_sql.pipeline_id, 's'))
  end
  from rowmill.pipelines as p
  cross join lateral unnest(p.key_columns) with ordinality as k(attnum, place)
  join pg_attribute as a on a.attrelid = p.source and a.attnum = k.attnum
  where p.id = keys_sql.pipeline_id;
$$;
comment on function rowmill.keys_sql is 'The aggregate that makes one entry''s keys of the rows s.';
revoke all on function rowmill.keys_sql from public;
