-- The triggers on a source table. Their one duty is to note keys; nothing in them may raise.
-- Workers need not stop.

-- API: internal
create function rowmill.enqueue_sql(pipeline_id bigint, rows_name text)
returns text
language plpgsql
stable
set search_path = ''
as $$
declare
  v_key text;
begin
  select format('jsonb_build_array(%s)', string_agg(format('s.%I', a.attname), ', ' order by k.place))
  into strict v_key
  from rowmill.pipelines as p
  cross join lateral unnest(p.key_columns) with ordinality as k(attnum, place)
  join pg_attribute as a on a.attrelid = p.source and a.attnum = k.attnum
  where p.id = enqueue_sql.pipeline_id;

  return format(
    $sql$with queued as (
          insert into rowmill.pending_keys (pipeline_id, keys, row_count)
          select %1$s, jsonb_agg(k.key), count(*)
          from (select %2$s as key, (row_number() over () - 1) / 1000 as slice from %3$s as s) as k
          group by k.slice
          order by k.slice
          returning id, row_count
        )
        select max(queued.id), sum(queued.row_count) from queued$sql$,
    enqueue_sql.pipeline_id, v_key, enqueue_sql.rows_name
  );
end;
$$;
comment on function rowmill.enqueue_sql(bigint, text) is
  'The statement that notes the keys of a transition table, or of any rows given as "rows_name", in slices of 1,000; it returns the last entry''s id and the number of rows.';
revoke all on function rowmill.enqueue_sql(bigint, text) from public;

-- API: internal
create function rowmill.keys_sql(pipeline_id bigint)
returns text
language sql
stable
set search_path = ''
as $$
  select case
    -- Numbers and uuids need no escaping: a third of the time that building JSON value by value takes.
    when count(*) = 1 and bool_and(a.atttypid in ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype))
      then format($sql$('[[' || string_agg(s.%I::text, '],[') || ']]')::jsonb$sql$, min(a.attname))
    when count(*) = 1 and bool_and(a.atttypid = 'uuid'::regtype)
      then format($sql$('[["' || string_agg(s.%I::text, '"],["') || '"]]')::jsonb$sql$, min(a.attname))
    else format('jsonb_agg(jsonb_build_array(%s))', string_agg(format('s.%I', a.attname), ', ' order by k.place))
  end
  from rowmill.pipelines as p
  cross join lateral unnest(p.key_columns) with ordinality as k(attnum, place)
  join pg_attribute as a on a.attrelid = p.source and a.attnum = k.attnum
  where p.id = keys_sql.pipeline_id;
$$;
comment on function rowmill.keys_sql(bigint) is 'The aggregate that makes one entry''s keys of the rows s.';
revoke all on function rowmill.keys_sql(bigint) from public;

-- API: internal
create function rowmill.note_trigger_error(pipeline_id bigint, sqlstate text, message text, keys_lost boolean)
returns void
language plpgsql
security definer -- whoever inserts has no rights here
set search_path = ''
as $$
begin
  insert into rowmill.trigger_errors (pipeline_id, sqlstate, message, keys_lost)
  values (note_trigger_error.pipeline_id, note_trigger_error.sqlstate, note_trigger_error.message, note_trigger_error.keys_lost);
exception when others then
  -- Nowhere left to write it down; a warning still reaches the client and the server's log.
  raise warning 'rowmill: pipeline %: % (%)',
    note_trigger_error.pipeline_id, note_trigger_error.message, note_trigger_error.sqlstate;
end;
$$;
comment on function rowmill.note_trigger_error(bigint, text, text, boolean) is 'Writes down what went wrong in a trigger. Never raises.';
revoke all on function rowmill.note_trigger_error(bigint, text, text, boolean) from public;

-- API: internal
create function rowmill.trigger_names_of(pipeline_id bigint)
returns text
language sql
stable
set search_path = ''
as $$
  select string_agg(quote_ident(rowmill.column_name(p.source, k.attnum)), ', ' order by k.place)
  from rowmill.pipelines as p
  cross join lateral unnest(p.key_columns) with ordinality as k(attnum, place)
  where p.id = trigger_names_of.pipeline_id;
$$;
comment on function rowmill.trigger_names_of(bigint) is 'The column names that a pipeline''s trigger functions contain, as they are today.';
revoke all on function rowmill.trigger_names_of(bigint) from public;

-- API: internal
create function rowmill.write_trigger_functions(pipeline_id bigint)
returns void
language plpgsql
set search_path = ''
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
    set search_path = '' set lock_timeout = '200ms' %2$s
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
          insert into rowmill.pending_keys (pipeline_id, keys, row_count)
          select %1$s, %2$s, v_rows from new_rows as s
          returning id into v_id;
        else
          %3$s into v_id, v_rows;
        end if;
      exception when others then
        begin
          -- A column was renamed since this text was written: make it anew, this once.
          execute rowmill.enqueue_sql(%1$s, 'new_rows') into v_id, v_rows;
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
      rowmill.enqueue_sql(v_pipeline.id, 'new_rows'),
      v_try_rows
    )
  );

  execute format(
    $function$
    create or replace function rowmill.enqueue_edited_%1$s()
    returns trigger
    language plpgsql
    security definer -- whoever updates has no rights here
    set search_path = '' set lock_timeout = '200ms' %2$s
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
comment on function rowmill.write_trigger_functions(bigint) is
  'Writes (or rewrites, after a rename) the two trigger functions of a pipeline, with static SQL: dynamic SQL would be planned at every statement.';
revoke all on function rowmill.write_trigger_functions(bigint) from public;

-- API: internal
create function rowmill.has_before_triggers(source regclass)
returns boolean
language sql
stable
set search_path = ''
as $$
  select exists (
    select
    from pg_trigger as t
    where t.tgrelid in (select has_before_triggers.source union select p.relid from pg_partition_tree(has_before_triggers.source) as p)
    and not t.tgisinternal
    and t.tgname not like 'rowmill\_%'
    and (t.tgtype & 1) = 1 -- for each row
    and (t.tgtype & 2) = 2 -- before
    and (t.tgtype & 16) = 16 -- update
  );
$$;
comment on function rowmill.has_before_triggers(regclass) is
  'Whether a BEFORE trigger may change columns that no UPDATE names: "update of" would not see such an edit.';
revoke all on function rowmill.has_before_triggers(regclass) from public;

-- API: internal
create function rowmill.triggers_are_behind(pipeline_id bigint)
returns boolean
language sql
stable
set search_path = ''
as $$
  select exists (
    select
    from rowmill.pipelines as p
    join pg_class as c on c.oid = p.source
    where p.id = triggers_are_behind.pipeline_id
    and (
      c.relkind = 'p' and exists (
        select
        from pg_partition_tree(p.source) as t
        where not exists (select from pg_trigger as g where g.tgrelid = t.relid and g.tgname = format('rowmill_%s_insert', p.id))
      )
      or exists (
        select from pg_trigger as g
        where g.tgrelid = p.source and g.tgname = format('rowmill_%s_update', p.id) and g.tgattr::text <> ''
      ) and rowmill.has_before_triggers(p.source)
    )
  );
$$;
comment on function rowmill.triggers_are_behind(bigint) is 'Whether a partition or a BEFORE trigger came since a pipeline''s triggers were made.';
revoke all on function rowmill.triggers_are_behind(bigint) from public;

-- API: internal
create function rowmill.attach_triggers(pipeline_id bigint)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  v_pipeline rowmill.pipelines;
  v_table regclass;
  v_watched text;
  v_changed text;
  v_keys text;
  v_moved text;
  v_made integer := 0;
begin
  select p.* into strict v_pipeline
  from rowmill.pipelines as p
  where p.id = attach_triggers.pipeline_id;

  select
    string_agg(format('%I', a.attname), ', ' order by a.attnum),
    -- Compared as text: that is what the prompt sees, and json has no "=".
    string_agg(format('old.%1$I::text is distinct from new.%1$I::text', a.attname), ' or ' order by a.attnum)
  into strict v_watched, v_changed
  from pg_attribute as a
  where a.attrelid = v_pipeline.source
  and a.attnum in (
    select k.attnum from unnest(v_pipeline.key_columns) as k(attnum)
    union
    select (i.value ->> 'attnum')::smallint from jsonb_array_elements(v_pipeline.inputs || v_pipeline.filter_columns) as i
    except
    select (o.value ->> 'attnum')::smallint from jsonb_array_elements(v_pipeline.outputs) as o
  );

  -- Generated columns have no value yet before an update, and partition no table.
  select string_agg(format('%I', a.attname), ', '), string_agg(format('old.%1$I is distinct from new.%1$I', a.attname), ' or ')
  into strict v_keys, v_moved
  from pg_attribute as a
  where a.attrelid = v_pipeline.source and a.attnum = any (v_pipeline.key_columns) and a.attgenerated = '';

  -- Then every update is looked at.
  if rowmill.has_before_triggers(v_pipeline.source) then
    v_watched := null;
  end if;

  -- Rows inserted straight into a partition fire its own statement triggers, not its parent's.
  for v_table in
    select v_pipeline.source
    union
    select t.relid from pg_partition_tree(v_pipeline.source) as t
  loop
    if not exists (
      select from pg_trigger as t where t.tgrelid = v_table and t.tgname = format('rowmill_%s_insert', v_pipeline.id)
    ) then
      execute format(
        'create trigger rowmill_%1$s_insert after insert on %2$s referencing new table as new_rows for each statement execute function rowmill.enqueue_inserted_%1$s()',
        v_pipeline.id, v_table
      );
      v_made := v_made + 1;
    end if;
  end loop;

  -- Row triggers are handed down to partitions by Postgres.
  if not exists (
    select from pg_trigger as t
    where t.tgrelid = v_pipeline.source and t.tgname = format('rowmill_%s_update', v_pipeline.id)
    and (v_watched is not null or t.tgattr::text = '')
  ) then
    execute format(
      'create or replace trigger rowmill_%1$s_update after update %2$s on %3$s for each row when (%4$s) execute function rowmill.enqueue_edited_%1$s()',
      v_pipeline.id, 'of ' || v_watched, v_pipeline.source, v_changed
    );
    v_made := v_made + 1;
  end if;

  -- An update that moves a row into another partition fires no AFTER UPDATE trigger for it, and it changes the
  -- key, of which the partition's columns are a part.
  if exists (select from pg_class as c where c.oid = v_pipeline.source and c.relkind = 'p') and not exists (
    select from pg_trigger as t where t.tgrelid = v_pipeline.source and t.tgname = format('rowmill_%s_move', v_pipeline.id)
  ) then
    execute format(
      'create trigger rowmill_%1$s_move before update %2$s on %3$s for each row when (%4$s) execute function rowmill.enqueue_edited_%1$s()',
      v_pipeline.id, 'of ' || v_keys, v_pipeline.source, v_moved
    );
    v_made := v_made + 1;
  end if;
  return v_made;
end;
$$;
comment on function rowmill.attach_triggers(bigint) is
  'Puts a pipeline''s triggers on its table and on every partition that lacks them; returns how many it made. Harmless to repeat.';
revoke all on function rowmill.attach_triggers(bigint) from public;

-- API: internal
create function rowmill.detach_triggers(pipeline_id bigint)
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- Cascade takes the triggers along, on whatever tables they are.
  execute format('drop function if exists rowmill.enqueue_inserted_%s() cascade', detach_triggers.pipeline_id);
  execute format('drop function if exists rowmill.enqueue_edited_%s() cascade', detach_triggers.pipeline_id);
end;
$$;
comment on function rowmill.detach_triggers(bigint) is 'Drops a pipeline''s triggers and their functions.';
revoke all on function rowmill.detach_triggers(bigint) from public;
