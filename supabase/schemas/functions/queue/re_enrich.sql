-- API: public
create or replace function rowmill.re_enrich(
  pipeline text,
  where_version_below integer default null -- null: the current version
)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_below integer := coalesce(where_version_below, v_pipeline.version);
begin
  if v_below not between 2 and v_pipeline.version then
    raise exception using errcode = 'RM109',
      message = format('no version of "%s" is below %s and not the one that holds', v_pipeline.name, v_below),
      detail = format('Version %s holds; the first is 1.', v_pipeline.version),
      hint = case when v_pipeline.version = 1
        then format('Its definition is still the first; rowmill.backfill(%L) sends every row again.', v_pipeline.name)
        else format('Give 2 to %s, or nothing.', v_pipeline.version)
      end;
  end if;
  insert into rowmill.backfills as b (pipeline_id, only_missing, version_below)
  values (v_pipeline.id, false, v_below)
  on conflict (pipeline_id) do update
  set
    only_missing = false, version_below = excluded.version_below, after_key = null, rows_queued = 0,
    started_at = clock_timestamp(), finished_at = null;
  return format(
    'rows of %s that were enriched before version %s are being queued; select * from rowmill.pipeline_status shows how far it is',
    v_pipeline.name, v_below
  );
end;
$$;
comment on function rowmill.re_enrich is
  'Queues the rows that were enriched under older versions than the given one, and those whose outputs are all null, to be '
  'enriched under the one that holds; a row that is under way under it is not sent twice. Every row that is queued is paid for. '
  'The tick does so in slices, as a backfill, of which there is one at a time: a second call of either begins anew. Raises RM109, '
  'RM111.';
revoke all on function rowmill.re_enrich from public;
