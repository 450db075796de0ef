-- API: internal
create or replace function rowmill.check_unfilled_columns(
  definition rowmill.pipelines -- with outputs and provenance
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bad text;
begin
  -- Rows of the source are there already: answers only update them.
  if definition.target = definition.source then
    return;
  end if;
  select string_agg(a.attname, ', ' order by a.attnum) into v_bad
  from pg_attribute as a
  join pg_type as t on t.oid = a.atttypid
  where a.attrelid = definition.target and a.attnum > 0 and not a.attisdropped
  and (a.attnotnull or rowmill.forbids_null(a.atttypid))
  and not a.atthasdef and a.attidentity = '' and t.typdefault is null
  and a.attnum <> all (definition.target_key_columns)
  and not definition.outputs || definition.provenance @> jsonb_build_array(jsonb_build_object('attnum', a.attnum));
  if v_bad is not null then
    raise exception using errcode = 'RM114',
      message = format('column %s of %s is not null and nobody fills it', v_bad, definition.target),
      detail = 'An answer whose row is not there yet is inserted with its key, its outputs and its provenance alone.',
      hint = 'Give the column a default, allow null in it, or make it an output.';
  end if;
end;
$$;
comment on function rowmill.check_unfilled_columns is
  'Whether an answer can be inserted into a target of its own. Raises RM114 where a column would be null that may not be.';
revoke all on function rowmill.check_unfilled_columns from public;
