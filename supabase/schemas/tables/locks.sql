create table rowmill.locks (
  name text primary key,
  constraint locks_are_known check (name in ('reserve', 'tick'))
);

alter table rowmill.locks enable row level security;

create policy nobody_but_the_owner on rowmill.locks using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.locks is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.locks is
  'Rows that functions lock so that one of a kind works at a time; an advisory lock could be taken by anybody who may connect.';

insert into rowmill.locks (name) values ('reserve'), ('tick');
