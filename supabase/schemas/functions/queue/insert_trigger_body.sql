-- API: internal
create or replace function rowmill.insert_trigger_body(pipeline_id bigint)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select format(
    $body$
    declare
      v_id bigint;
      v_rows bigint;
      v_keys jsonb;
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
          if sqlstate = '55P03' then
            raise; -- it would wait once more
          end if;
          -- A column was renamed since this text was written: write it again, this once.
          execute rowmill.enqueue_sql(%1$s, 'new_rows', false) into v_id, v_rows;
        exception when others then
          %5$s
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
    p.id,
    rowmill.keys_sql(p.id),
    rowmill.enqueue_sql(p.id, 'new_rows', false),
    -- Forming is tried about sixteen times for each chunk's worth of rows: a look at the queue for each single-row statement
    -- would cost more than the insert.
    greatest(1, p.chunk_size / 16),
    rowmill.trigger_fault_sql(p.id, 'insert', 'new_rows', '')
  )
  from rowmill.pipelines as p
  where p.id = insert_trigger_body.pipeline_id;
$$;
comment on function rowmill.insert_trigger_body is
  'The body of the trigger function that queues the keys of inserted rows. It raises nothing.';
revoke all on function rowmill.insert_trigger_body from public;
