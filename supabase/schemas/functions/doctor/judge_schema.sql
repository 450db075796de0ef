-- API: internal
create or replace function rowmill.judge_schema(schema text, names text[])
returns rowmill.finding
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_untrusted text[] := rowmill.untrusted_in(judge_schema.schema, judge_schema.names);
begin
  if v_untrusted is null then
    return null;
  end if;
  return row(
    'fault',
    format('not used: its code would run with the rights of %I, and its owner is not trusted: %s',
      current_user, rowmill.first_few(v_untrusted)),
    format('Drop what should not be there. What should: give it to %1$I or to a superuser, e.g. alter schema %2$I owner to %1$I;',
      current_user, judge_schema.schema)
  )::rowmill.finding;
end;
$$;
comment on function rowmill.judge_schema is
  'A fault where an extension''s schema, or what these names mean in it, is not trusted (see is_trusted_object); else null.';
revoke all on function rowmill.judge_schema from public;
