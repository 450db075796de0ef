-- API: internal
create or replace function rowmill.trust_problem(
  tables regclass[],
  filter_uses jsonb -- as pipelines has it
)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_untrusted text := rowmill.untrusted_code(tables::oid[], filter_uses);
begin
  return format(
    '%s, and would run with the rights of %I, which owns Rowmill: rows are neither read nor written. Give it to %2$I, take it away, '
    'or trust its owner with all that %2$I may do (rowmill.settings.trusted_roles)',
    v_untrusted, rowmill.owner_name()
  )
  where v_untrusted is not null;
end;
$$;
comment on function rowmill.trust_problem is
  'Whose code would run with the rights of Rowmill''s owner where these tables are read or written, and what to do, in words; null '
  'where nobody''s would.';
revoke all on function rowmill.trust_problem from public;
