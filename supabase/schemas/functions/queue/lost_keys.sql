-- API: internal
create or replace function rowmill.lost_keys(pipeline_id bigint)
returns bigint
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(pg_sequence_last_value(to_regclass(format('rowmill.lost_keys_%s', lost_keys.pipeline_id))), 0);
$$;
comment on function rowmill.lost_keys is
  'How often a trigger of a pipeline could write down neither keys nor an error, since the pipeline was created. Each may be any '
  'row; a transaction that was rolled back counts as well.';
revoke all on function rowmill.lost_keys from public;
