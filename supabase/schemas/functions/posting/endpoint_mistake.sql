-- API: internal
create or replace function rowmill.endpoint_mistake(url text, secret text, out message text, out detail text, out hint text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if endpoint_mistake.url !~ '^https?://[^/\s]+' then
    message := 'the url is not an http or https address';
    detail := format('url is %L.', endpoint_mistake.url);
    hint := 'select rowmill.set_endpoint(''https://worker.example.com'', ''whsec_…'');';
  elsif endpoint_mistake.secret is null and endpoint_mistake.url is not null and not rowmill.has_ingest_secret() then
    message := 'there is no secret yet';
    detail := 'Posts are signed with it.';
    hint := 'Give it as the second argument, the same as the worker''s ROWMILL_INGEST_SECRET.';
  elsif not rowmill.is_secret(endpoint_mistake.secret) then
    message := 'the secret is not of the form whsec_ and base64 of at least 24 bytes';
    detail := format('It has %s characters.', length(endpoint_mistake.secret));
    hint := 'Make one: select ''whsec_'' || '
      'encode(sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, ''UTF8'')), ''base64'');';
  end if;
end;
$$;
comment on function rowmill.endpoint_mistake is
  'What is wrong with what set_endpoint() was given; nulls where nothing is. The secret is in none of it: messages end in logs.';
revoke all on function rowmill.endpoint_mistake from public;
