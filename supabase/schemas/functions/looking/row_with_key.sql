-- API: internal
create or replace function rowmill.row_with_key(
  pipeline rowmill.pipelines,
  given text, -- as why() is given it
  out key jsonb, -- as it is queued
  out is_selected boolean,
  out is_missing boolean -- whether an output is null
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts rowmill.source_parts := rowmill.source_parts_of((row_with_key.pipeline).id);
  v_given jsonb := rowmill.key_given(row_with_key.pipeline, row_with_key.given);
begin
  execute format('select %1$s, %2$s, %3$s from (select $1 as key) as k join %4$s as s on %5$s',
    v_parts.key_value, v_parts.selected, v_parts.missing, v_parts.relation, v_parts.key_match)
  into row_with_key.key, row_with_key.is_selected, row_with_key.is_missing
  using v_given;
exception when data_exception then
  raise exception using errcode = 'RM109', message = format('that is no key of %s', (row_with_key.pipeline).source),
    detail = sqlerrm, hint = format('Its primary key is (%s).', rowmill.trigger_names_of((row_with_key.pipeline).id));
end;
$$;
comment on function rowmill.row_with_key is
  'The row of a pipeline''s table that has a key; nulls where there is none. For callers with the settings of why(): the key is text '
  'as the triggers have it. Raises RM109 where it can be no key of the table, RM201 where the table is gone.';
revoke all on function rowmill.row_with_key from public;
