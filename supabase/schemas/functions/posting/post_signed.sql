-- API: internal
create or replace function rowmill.post_signed(
  message_id text, -- the webhook-id; the worker knows a repeated one by its body, not by this
  body jsonb
)
returns bigint
language plpgsql
security definer -- called from triggers of whoever inserts
set search_path = pg_catalog, pg_temp
as $$
declare
  v_net text := 'net';
  v_settings rowmill.settings;
  v_timestamp text := floor(extract(epoch from clock_timestamp()))::bigint::text;
  v_signature text;
  v_request_id bigint;
begin
  select s.* into strict v_settings from rowmill.settings as s;
  -- The secret signs and stays here: pg_net's tables, headers included, can be read by many.
  v_signature := 'v1,' || encode(rowmill.hmac_sha256(
    convert_to(post_signed.message_id || '.' || v_timestamp || '.' || post_signed.body::text, 'UTF8'),
    decode(substr(rowmill.ingest_secret(), 7), 'base64')
  ), 'base64');
  execute format('select %I.http_post(url => $1, body => $2, headers => $3, timeout_milliseconds => $4)', v_net)
  into strict v_request_id
  using
    v_settings.endpoint_url,
    post_signed.body,
    jsonb_build_object(
      'Content-Type', 'application/json',
      'webhook-id', post_signed.message_id,
      'webhook-timestamp', v_timestamp,
      'webhook-signature', v_signature
    ),
    v_settings.post_timeout_ms;
  return v_request_id;
end;
$$;
comment on function rowmill.post_signed is
  'Gives pg_net a body to post to the endpoint once this transaction commits, signed as Standard Webhooks has it; returns '
  'pg_net''s number for it. For callers that have asked can_post(). A post is made once and may be lost.';
revoke all on function rowmill.post_signed from public;
