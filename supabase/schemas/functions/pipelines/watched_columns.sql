-- API: internal
create or replace function rowmill.watched_columns(definition rowmill.pipelines)
returns smallint[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select array_agg(w.attnum order by w.attnum)
  from (
    select k.attnum from unnest(definition.key_columns) as k(attnum)
    union
    select (i.value ->> 'attnum')::smallint from jsonb_array_elements(definition.inputs || definition.filter_columns) as i
    except
    select (o.value ->> 'attnum')::smallint
    from jsonb_array_elements(definition.outputs || definition.provenance) as o
    where definition.target = definition.source
  ) as w;
$$;
comment on function rowmill.watched_columns is
  'The columns of a source whose edit asks for the row again.';
revoke all on function rowmill.watched_columns from public;
