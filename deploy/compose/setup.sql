-- What an operator does once in a new database, here by psql: extensions, the endpoint, the tick. Harmless to repeat.
-- As role postgres, who is no superuser: Supabase's image lets it create these extensions, as it does in a project.
\set ON_ERROR_STOP on
\getenv url ROWMILL_WORKER_URL
\getenv secret ROWMILL_INGEST_SECRET
\getenv given GIVEN_INGEST_SECRET

create extension if not exists pg_net with schema extensions;
create extension if not exists pg_cron with schema pg_catalog;
create extension if not exists supabase_vault cascade;

-- Set apart: a statement that fails is logged, and this one is not to fail with the secret in it.
select set_config('setup.secret', :'secret', false) is not null as has_secret \gset
select rowmill.set_endpoint(:'url', current_setting('setup.secret'));
select rowmill.schedule();

select :'given' = '' as is_default \gset
\if :is_default
  \warn 'WARNING: ROWMILL_INGEST_SECRET is the one in docker-compose.yml, which everybody knows. Set your own in .env for anything but a trial.'
\endif
