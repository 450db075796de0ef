-- API: internal
create or replace function rowmill.lost_keys_problem(
  pipeline rowmill.pipelines,
  out problem text,
  out remedy text -- a statement
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_error record;
begin
  if rowmill.lost_keys(pipeline.id) > pipeline.lost_keys_found then
    problem := format(
      'rows of "%s" could not be queued, and nothing says which: edited ones may have their old answers still', pipeline.name
    );
    remedy := format('select rowmill.backfill(%L); -- sends all rows, and each is paid for', pipeline.name);
    return;
  end if;
  select e.what, e.sqlstate, e.message, date_trunc('second', e.happened_at) as happened_at into v_error
  from rowmill.trigger_errors as e
  where e.pipeline_id = pipeline.id and e.keys is null and e.what <> 'chunk'
  order by e.what = 'edit' desc, e.happened_at desc
  limit 1;
  if found then
    problem := format('rows of "%s" could not be queued, last at %s: %s (%s)',
      pipeline.name, v_error.happened_at, v_error.message, v_error.sqlstate);
    remedy := case v_error.what
      when 'insert' then format('select rowmill.backfill(%L, only_missing => true);', pipeline.name)
      else format('select rowmill.backfill(%L); -- sends all rows, and each is paid for: edited ones have old answers', pipeline.name)
    end;
  end if;
end;
$$;
comment on function rowmill.lost_keys_problem is
  'What a pipeline''s triggers could not queue, where the tick cannot queue it either, and which backfill finds it; nulls where '
  'there is nothing.';
revoke all on function rowmill.lost_keys_problem from public;
