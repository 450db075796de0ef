-- Every table says itself that nobody comes in: row level security without a policy says the same, and reads like
-- something forgotten. Workers need not stop.

do $$
declare
  v_table regclass;
begin
  for v_table in
    select c.oid
    from pg_catalog.pg_class as c
    where c.relnamespace = 'rowmill'::regnamespace and c.relkind in ('r', 'p')
    and not exists (select from pg_catalog.pg_policy as p where p.polrelid = c.oid)
    order by c.oid
  loop
    execute pg_catalog.format('create policy nobody_but_the_owner on %s as permissive for all to public using (false) with check (false)', v_table);
    execute pg_catalog.format('comment on policy nobody_but_the_owner on %s is %L', v_table,
      'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.');
  end loop;
end;
$$;
