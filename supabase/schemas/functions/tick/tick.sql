-- API: worker
create or replace function rowmill.tick(max_chunks integer default 50)
returns jsonb
language plpgsql
security definer -- pg_cron and the worker call it; neither has rights on the tables
set search_path = pg_catalog, pg_temp
as $$
declare
  v_counts jsonb;
  v_released integer;
  v_posted integer := 0;
  v_has_attached boolean;
begin
  -- Two ticks at once would do no harm, and the second no good. A row, and no advisory lock: any role can take those.
  perform from rowmill.locks as l where l.name = 'tick' for update skip locked;
  if not found then
    return jsonb_build_object('queued', 0, 'formed', 0, 'posted', 0, 'released', 0, 'more', false);
  end if;

  v_released := rowmill.release_expired_leases();
  perform rowmill.forget_answered_rows();
  v_counts := rowmill.tick_pipelines(tick.max_chunks);
  v_has_attached := (v_counts ->> 'has_attached')::boolean;
  if not v_has_attached then
    perform rowmill.forget_old_failures();
    v_posted := rowmill.post_again(20);
    begin
      perform rowmill.forget_webhooks();
      perform rowmill.ring_workers();
    exception when others then
      null; -- neither is worth a tick; rowmill.doctor() says what is wrong with posts
    end;
  end if;

  return jsonb_build_object(
    'queued', (v_counts ->> 'queued')::integer,
    'formed', (v_counts ->> 'formed')::integer,
    'posted', (v_counts ->> 'posted')::integer + v_posted,
    'released', v_released,
    'more', v_has_attached or (v_counts ->> 'more')::boolean
  );
end;
$$;
comment on function rowmill.tick is
  'Takes every pipeline forward and posts again what nobody accepted; to be called every few seconds, by any number of callers: '
  'one works, the others return at once. Returns {"queued","formed","posted","released","more"}; more: call again now. '
  'A crash undoes the tick and nothing else.';
revoke all on function rowmill.tick from public;
