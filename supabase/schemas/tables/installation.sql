create table rowmill.installation (
  only_row boolean primary key default true,
  applying_secret uuid not null default gen_random_uuid(),
  constraint installation_has_one_row check (only_row)
);

alter table rowmill.installation enable row level security;

create policy nobody_but_the_owner on rowmill.installation using (false) with check (false);
comment on policy nobody_but_the_owner on rowmill.installation is
  'The owner, and functions that run as the owner, are not subject to policies; nobody else sees or writes a row.';

comment on table rowmill.installation is 'One row of what the installation needs to know of itself; nobody edits it.';
comment on column rowmill.installation.applying_secret is
  'What the mark is made with under which answers are written (rowmill.applying_mark): a session that does not know it cannot make one.';

insert into rowmill.installation default values;
