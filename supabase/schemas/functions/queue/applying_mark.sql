-- API: internal
create or replace function rowmill.applying_mark(pipeline_id bigint)
returns text
language plpgsql -- its plan is kept
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select encode(sha256(convert_to(concat_ws(' ', i.applying_secret, pg_current_xact_id(), applying_mark.pipeline_id), 'UTF8')), 'hex')
    from rowmill.installation as i
  );
end;
$$;
comment on function rowmill.applying_mark is
  'What the parameter rowmill.applying holds while answers of a pipeline are written in this transaction. Every session may set the '
  'parameter; only Rowmill''s owner can say this, since it is made with a secret that nobody else reads.';
revoke all on function rowmill.applying_mark from public;
