-- API: internal
create or replace function rowmill.check_new_name(name text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if check_new_name.name is null or check_new_name.name !~ '^[A-Za-z0-9_][A-Za-z0-9_. -]{0,62}$' then
    raise exception using errcode = 'RM109', message = 'the name does not fit',
      detail = format('name is %L.', check_new_name.name),
      hint = 'Use 1 to 63 letters, digits, "_", "-", "." or blanks, e.g. name => ''movies''.';
  end if;
  if exists (select from rowmill.pipelines as p where p.name = check_new_name.name and p.state <> 'dropped') then
    raise exception using errcode = 'RM110', message = format('pipeline "%s" exists already', check_new_name.name),
      detail = 'Names are unique.',
      hint = format(
        'Choose another, change it with rowmill.alter_pipeline(%L, …), or first: select rowmill.drop_pipeline(%1$L);',
        check_new_name.name
      );
  end if;
end;
$$;
comment on function rowmill.check_new_name is
  'Whether a new pipeline may be called so. Raises RM109 (letters that do not fit) or RM110 (another has the name).';
revoke all on function rowmill.check_new_name from public;
