-- API: internal
create or replace function rowmill.edit_trigger_body(pipeline_id bigint)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select format(
    $body$
    declare
      v_keys jsonb;
    begin
      -- An answer that is written must not ask again, where a BEFORE trigger changes an input with it (updated_at).
      -- What the user's triggers edit besides stands deeper, and is queued.
      if current_setting('rowmill.applying', true) <> '' and pg_trigger_depth() = 1 then
        if current_setting('rowmill.applying') = rowmill.applying_mark(%1$s) then
          return new;
        end if;
      end if;
      insert into rowmill.pending_keys (pipeline_id, keys, row_count)
      values (%1$s, jsonb_build_array(jsonb_build_array(%2$s)), 1);
      return new; -- it stands before an update too, where null would undo it
    exception when others then
      begin
        if sqlstate = '55P03' then
          raise; -- it would wait once more
        end if;
        execute rowmill.enqueue_sql(%1$s, '(select ($1).*)') using new;
      exception when others then
        %3$s
      end;
      return new;
    end;
    $body$,
    p.id,
    rowmill.key_elements(p.id, 'new'),
    rowmill.trigger_fault_sql(p.id, 'edit', '(select ($1).*)', ' using new')
  )
  from rowmill.pipelines as p
  where p.id = edit_trigger_body.pipeline_id;
$$;
comment on function rowmill.edit_trigger_body is
  'The body of the trigger function that queues the key of an edited row. It raises nothing.';
revoke all on function rowmill.edit_trigger_body from public;
