-- API: internal
create or replace function rowmill.check_trust(definition rowmill.pipelines)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner name := rowmill.owner_name();
  v_untrusted text := rowmill.untrusted_code(
    array[definition.source, definition.target]::oid[], coalesce(definition.filter_uses, '[]')
  );
begin
  if v_untrusted is not null then
    raise exception using errcode = 'RM117',
      message = format('code of another role would run with the rights of %I: %s', v_owner, v_untrusted),
      detail = format('Rows are read and answers are written as %I, which owns Rowmill, and so is all that runs then: triggers, types, '
        'operators, casts, checks, index expressions, generated columns, defaults, policies.', v_owner),
      hint = format('Give it to %I, take it off the table, or trust its owner with all that %1$I may do: '
        'update rowmill.settings set trusted_roles = trusted_roles || ''…''::name where only_row;', v_owner);
  end if;
end;
$$;
comment on function rowmill.check_trust is
  'Whether all code that reading and writing the rows of a definition runs belongs to a role that is trusted (is_trusted). Raises RM117.';
revoke all on function rowmill.check_trust from public;
