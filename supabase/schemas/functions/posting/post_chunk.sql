-- API: internal
create or replace function rowmill.post_chunk(
  chunk_id bigint,
  with_rows boolean default true -- false: the worker reads them
)
returns boolean
language plpgsql
security definer -- called from triggers of whoever inserts
set search_path = pg_catalog, pg_temp
as $$
declare
  v_settings rowmill.settings;
  v_chunk rowmill.chunks;
  v_pipeline rowmill.pipelines;
  v_fits boolean := false;
  v_body jsonb;
begin
  if not rowmill.can_post() then
    return false;
  end if;
  select s.* into strict v_settings from rowmill.settings as s;
  select c.* into v_chunk from rowmill.chunks as c where c.id = post_chunk.chunk_id and c.state = 'waiting';
  if not found then
    return false;
  end if;
  select p.* into strict v_pipeline from rowmill.pipelines as p where p.id = v_chunk.pipeline_id;

  v_body := jsonb_build_object('chunk_id', v_chunk.id, 'pipeline', v_pipeline.name);
  -- A chunk of an older version goes by its number: its worker reads the rows as the version has them that it asks under.
  if v_settings.post_rows and post_chunk.with_rows and v_chunk.version = v_pipeline.version then
    begin
      -- A few rows tell whether all of them make a body that the worker would turn away.
      select v_settings.post_max_bytes > v_chunk.row_count * coalesce(avg(octet_length(r.input::text) + 64), 0) into strict v_fits
      from rowmill.read_chunk(v_chunk.id, 0, 20) as r;
      if v_fits then
        select v_body || jsonb_build_object(
          'rows', coalesce(jsonb_agg(jsonb_build_object('n', r.n, 'hash', r.hash, 'input', r.input)), '[]')
        )
        into strict v_body
        from rowmill.read_chunk(v_chunk.id, 0, v_chunk.row_count) as r;
        -- The few may not have been like the rest.
        if octet_length(v_body::text) > v_settings.post_max_bytes then
          v_body := v_body - 'rows';
        end if;
      end if;
    exception when others then
      -- A row cannot be read: the worker finds out which, and reads the others.
      v_body := v_body - 'rows';
    end;
  end if;

  perform rowmill.post_signed('chunk_' || v_chunk.id, v_body);
  update rowmill.chunks as c
  set posted_at = clock_timestamp(), posts = c.posts + 1
  where c.id = v_chunk.id;
  return true;
end;
$$;
comment on function rowmill.post_chunk is
  'Hands a waiting chunk to pg_net, signed as Standard Webhooks has it; false where nothing can be posted. pg_net sends after the '
  'commit and may lose it: the tick posts again, a worker fetches.';
revoke all on function rowmill.post_chunk from public;
