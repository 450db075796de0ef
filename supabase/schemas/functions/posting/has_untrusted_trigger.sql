-- API: internal
create or replace function rowmill.has_untrusted_trigger(relation text)
returns boolean
language plpgsql -- keeps its plan: every post asks
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select exists (
      select
      from pg_trigger as t
      join pg_class as c on c.oid = t.tgrelid
      join pg_namespace as n on n.oid = c.relnamespace
      join pg_proc as p on p.oid = t.tgfoid
      where n.nspname = split_part(has_untrusted_trigger.relation, '.', 1)
      and c.relname = split_part(has_untrusted_trigger.relation, '.', 2)
      and not rowmill.is_trusted_object('pg_proc', p.oid, p.proowner)
    )
  );
end;
$$;
comment on function rowmill.has_untrusted_trigger is
  'Whether a table of an extension, named schema.name, has a trigger whose function is not trusted (see is_trusted_object).';
revoke all on function rowmill.has_untrusted_trigger from public;
