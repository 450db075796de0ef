-- API: public
create or replace function rowmill.preview_rows(
  pipeline text,
  max_rows integer default 5,
  spread boolean default false -- true: from all over the queue, to judge it by; false: those that are next
)
returns table (key jsonb, hash text, input jsonb, is_queued boolean)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- An input's text, and so its hash, must not depend on whoever asks.
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
  v_pipeline rowmill.pipelines := rowmill.pipeline_named(pipeline);
  v_parts rowmill.source_parts := rowmill.source_parts_of(v_pipeline.id);
  v_keys jsonb;
begin
  if preview_rows.max_rows is null or preview_rows.max_rows < 1 then
    raise exception using errcode = 'RM109', message = 'max_rows is not a positive number',
      detail = format('It is %s.', coalesce(preview_rows.max_rows::text, 'null')), hint = 'max_rows => 5';
  end if;
  v_keys := rowmill.keys_to_preview(v_pipeline.id, preview_rows.max_rows, preview_rows.spread);
  if v_keys is null then
    for key, hash, input, is_queued in execute format(
      'select %1$s, %2$s, %3$s, false from %4$s as s where %5$s order by %6$s limit $1',
      v_parts.key_value, v_parts.hash, v_parts.input, v_parts.relation, v_parts.selected, v_parts.key_list
    )
    using preview_rows.max_rows
    loop
      return next;
    end loop;
  else
    for key, hash, input, is_queued in execute format(
      $sql$
      select %1$s, %2$s, %3$s, true
      from jsonb_array_elements($1) with ordinality as k(key, n)
      join %4$s as s on %5$s
      where %6$s
      order by k.n
      $sql$,
      v_parts.key_value, v_parts.hash, v_parts.input, v_parts.relation, v_parts.key_match, v_parts.selected
    )
    using v_keys
    loop
      return next;
    end loop;
  end if;
end;
$$;
comment on function rowmill.preview_rows is
  'Rows that are queued, as their prompts would see them now; where nothing is queued, the first of the table. '
  'Nothing is sent or changed. Raises RM111, RM109, RM201.';
revoke all on function rowmill.preview_rows from public;
