-- API: internal
create or replace function rowmill.check_owner_rights(
  relation regclass,
  is_target boolean -- true: answers are inserted into it, too
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner name := rowmill.owner_name();
begin
  if has_table_privilege(v_owner, check_owner_rights.relation, 'select')
    and has_table_privilege(v_owner, check_owner_rights.relation, 'update')
    and (not check_owner_rights.is_target or has_table_privilege(v_owner, check_owner_rights.relation, 'insert')) then
    return;
  end if;
  raise exception using errcode = 'RM105',
    message = format(
      'role %s, which owns Rowmill, may not %s %s',
      v_owner, case when check_owner_rights.is_target then 'read, insert into and update' else 'read and update' end,
      check_owner_rights.relation
    ),
    detail = case
      when check_owner_rights.is_target then 'Answers are written under that role.'
      else 'Rows are read and answers are written under that role.'
    end,
    hint = format(
      'grant %s on %s to %I;',
      case when check_owner_rights.is_target then 'select, insert, update' else 'select, update' end,
      check_owner_rights.relation, v_owner
    );
end;
$$;
comment on function rowmill.check_owner_rights is
  'Whether the owner of Rowmill may read and write a table. Raises RM105, with the grant that it needs.';
revoke all on function rowmill.check_owner_rights from public;
