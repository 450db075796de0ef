-- API: internal
create or replace function rowmill.hash_of_row(pipeline_id bigint, key jsonb)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- The hash of an input must be the one that read_chunk made.
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
  v_parts rowmill.source_parts := rowmill.source_parts_of(pipeline_id);
  v_hash text;
begin
  execute format('select %s from (select $1) as k(key) join %s as s on %s', v_parts.hash, v_parts.relation, v_parts.key_match)
  into v_hash
  using hash_of_row.key;
  return v_hash;
exception
  when others then
    return null;
end;
$$;
comment on function rowmill.hash_of_row is
  'The hash of a row''s input as it is now; null where there is no such row, or it cannot be read.';
revoke all on function rowmill.hash_of_row from public;
