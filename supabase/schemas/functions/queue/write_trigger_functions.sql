-- API: internal
create or replace function rowmill.write_trigger_functions(pipeline_id bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_pipeline rowmill.pipelines;
  v_new_key text;
  v_settings text := '';
  -- Forming is tried about sixteen times for each chunk's worth of rows: a look at the queue for each
  -- single-row statement would cost more than the insert.
  v_try_rows integer;
begin
  select p.* into strict v_pipeline
  from rowmill.pipelines as p
  where p.id = write_trigger_functions.pipeline_id;
  v_try_rows := greatest(1, v_pipeline.chunk_size / 16);

  select string_agg(format('new.%I', a.attname), ', ' order by k.place),
    -- These types' JSON depends on settings of the session; a key must not.
    case when bool_or(rowmill.base_type(a.atttypid) in (
      'timestamptz'::regtype, 'timetz'::regtype, 'bytea'::regtype, 'real'::regtype, 'double precision'::regtype, 'interval'::regtype
    ) or exists (select from pg_type as t where t.oid = rowmill.base_type(a.atttypid) and t.typtype in ('r', 'm'))) then 'set timezone = ''UTC'' set datestyle = ''ISO, YMD'' set bytea_output = ''hex'' set extra_float_digits = 1 set intervalstyle = ''postgres''' else '' end
  into strict v_new_key, v_settings
  from unnest(v_pipeline.key_columns) with ordinality as k(attnum, place)
  join pg_attribute as a on a.attrelid = v_pipeline.source and a.attnum = k.attnum;

  -- The bodies are quoted as literals: no name of a column can end them, as it could end a dollar quote.
  execute format(
    $function$
    create or replace function rowmill.enqueue_inserted_%1$s()
    returns trigger
    language plpgsql
    security definer -- whoever inserts has no rights here
    set search_path = pg_catalog, pg_temp set lock_timeout = '200ms' %2$s
    as %3$L
    $function$,
    v_pipeline.id,
    v_settings,
    format(
      $body$
    declare
      v_id bigint;
      v_rows bigint;
    begin
      begin
        select count(*) into v_rows from new_rows;
        if v_rows between 1 and 1000 then
          insert into rowmill.pending_keys (pipeline_id, keys, row_count, may_repeat)
          select %1$s, %2$s, v_rows, false from new_rows as s
          returning id into v_id;
        else
          %3$s into v_id, v_rows;
        end if;
      exception when others then
        begin
          -- A column was renamed since this text was written: make it anew, this once.
          execute rowmill.enqueue_sql(%1$s, 'new_rows', false) into v_id, v_rows;
        exception when others then
          begin
            perform rowmill.note_trigger_error(%1$s, sqlstate, sqlerrm, true);
          exception when others then
            raise warning 'rowmill: pipeline %1$s: %%', sqlerrm;
          end;
        end;
      end;
      -- v_rows is smaller in the second half, so that it divides by at least 1
      if v_rows >= %4$s or v_id %% (%4$s / v_rows) = 0 then
        begin
          perform rowmill.form_chunk_on_insert(%1$s);
        exception when others then
          -- It raises nothing itself, but it may be gone, or its owner's rights. The keys stand.
          raise warning 'rowmill: pipeline %1$s: %%', sqlerrm;
        end;
      end if;
      return null;
    end;
      $body$,
      v_pipeline.id,
      rowmill.keys_sql(v_pipeline.id),
      rowmill.enqueue_sql(v_pipeline.id, 'new_rows', false),
      v_try_rows
    )
  );

  execute format(
    $function$
    create or replace function rowmill.enqueue_edited_%1$s()
    returns trigger
    language plpgsql
    security definer -- whoever updates has no rights here
    set search_path = pg_catalog, pg_temp set lock_timeout = '200ms' %2$s
    as %3$L
    $function$,
    v_pipeline.id,
    v_settings,
    format(
      $body$
    begin
      -- An answer that is written must not ask again, where a BEFORE trigger changes an input with it (updated_at).
      -- What the user's triggers edit besides stands deeper, and is queued.
      if current_setting('rowmill.applying', true) = '%1$s' and pg_trigger_depth() = 1 then
        return new;
      end if;
      insert into rowmill.pending_keys (pipeline_id, keys, row_count)
      values (%1$s, jsonb_build_array(jsonb_build_array(%2$s)), 1);
      return new; -- it stands before an update too, where null would undo it
    exception when others then
      begin
        execute rowmill.enqueue_sql(%1$s, '(select ($1).*)') using new;
      exception when others then
        begin
          perform rowmill.note_trigger_error(%1$s, sqlstate, sqlerrm, true);
        exception when others then
          raise warning 'rowmill: pipeline %1$s: %%', sqlerrm;
        end;
      end;
      return new;
    end;
      $body$,
      v_pipeline.id,
      v_new_key
    )
  );

  execute format('revoke all on function rowmill.enqueue_inserted_%1$s(), rowmill.enqueue_edited_%1$s() from public', v_pipeline.id);
  execute format('comment on function rowmill.enqueue_inserted_%s() is %L', v_pipeline.id, 'Queues the keys of inserted rows. Written by rowmill.write_trigger_functions.');
  execute format('comment on function rowmill.enqueue_edited_%s() is %L', v_pipeline.id, 'Queues the key of an edited row. Written by rowmill.write_trigger_functions.');

  update rowmill.pipelines as p
  set trigger_names = rowmill.trigger_names_of(p.id)
  where p.id = v_pipeline.id;
end;
$$;
comment on function rowmill.write_trigger_functions is
   'Writes (or rewrites, after a rename) the two trigger functions of a pipeline, with static SQL: dynamic SQL would be planned at every statement.';
revoke all on function rowmill.write_trigger_functions from public;
