-- API: internal
create or replace function rowmill.hidden_rows()
returns table (found text, remedy text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select
    case
      when r.is_ours then
        format('row level security of %s is forced, and %s sees only what its policies show', r.relation, current_user)
      else format('row level security of %s hides rows from %s, who is not its owner', r.relation, current_user)
    end,
    case
      when r.is_ours then format('alter table %s no force row level security;', r.relation)
      else format('alter role %I bypassrls;', current_user)
    end
  from (
    select distinct c.oid::regclass as relation, pg_has_role(c.relowner, 'usage') as is_ours
    from rowmill.pipelines as p
    join pg_class as c on c.oid in (p.source, p.target)
    where p.state <> 'dropped' and row_security_active(c.oid)
  ) as r
  order by r.relation;
$$;
comment on function rowmill.hidden_rows is
  'The pipelines'' tables of which row level security hides rows from Rowmill''s owner, and what shows them.';
revoke all on function rowmill.hidden_rows from public;
