-- API: internal
create or replace function rowmill.examine_table_rights()
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found text[];
  v_remedies text[];
begin
  -- Behind row level security rows would be missing without a word.
  select array_agg(f.found order by f.place, f.n), array_agg(f.remedy order by f.place, f.n) into strict v_found, v_remedies
  from (
    select 1 as place, r.* from rowmill.lacking_rights() with ordinality as r(found, remedy, n)
    union all
    select 2, r.* from rowmill.hidden_rows() with ordinality as r(found, remedy, n)
  ) as f;
  if v_found is not null then
    return row('fault', rowmill.first_few(v_found), array_to_string(v_remedies, ' '))::rowmill.finding;
  end if;
  return row('ok', format('%s may read every source and write every output', current_user), null)::rowmill.finding;
end;
$$;
comment on function rowmill.examine_table_rights is
  'Whether Rowmill''s owner may read what prompts name and write the outputs, in all rows of the tables.';
revoke all on function rowmill.examine_table_rights from public;
