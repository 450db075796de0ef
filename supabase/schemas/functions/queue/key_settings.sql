-- API: internal
create or replace function rowmill.key_settings(pipeline_id bigint)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  -- These types' JSON depends on settings of the session; a key must not.
  select case
    when bool_or(t.typtype in ('r', 'm') or t.oid in (
      'timestamptz'::regtype, 'timetz'::regtype, 'bytea'::regtype, 'real'::regtype, 'double precision'::regtype, 'interval'::regtype
    ))
      then 'set timezone = ''UTC'' set datestyle = ''ISO, YMD'' set bytea_output = ''hex'' set extra_float_digits = 1 '
        || 'set intervalstyle = ''postgres'''
    else ''
  end
  from rowmill.pipelines as p
  cross join lateral unnest(p.key_columns) as k(attnum)
  join pg_attribute as a on a.attrelid = p.source and a.attnum = k.attnum
  join pg_type as t on t.oid = rowmill.base_type(a.atttypid)
  where p.id = key_settings.pipeline_id;
$$;
comment on function rowmill.key_settings is 'The settings that a pipeline''s trigger functions pin, as text of "create function".';
revoke all on function rowmill.key_settings from public;
