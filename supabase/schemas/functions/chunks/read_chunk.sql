-- API: worker
create or replace function rowmill.read_chunk(
  chunk_id bigint,
  from_n integer default 0, -- first place in the chunk
  place_count integer default 1000 -- how many places to look at
)
returns table (n integer, hash text, input jsonb)
language plpgsql
stable
security definer -- the worker has no rights on the source table
set search_path = pg_catalog, pg_temp
-- An input's text, and so its hash, must not depend on whoever asks.
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
-- All rows are wanted, by the plan that is best for all of them.
set cursor_tuple_fraction = 1
as $$
declare
  v_most constant bigint := 16000000; -- bytes of a page, and of a row: what a post may have as well
  v_bytes bigint := 0;
  v_chunk rowmill.chunks;
  v_parts rowmill.source_parts;
  v_rows refcursor;
begin
  select c.* into v_chunk from rowmill.chunks as c where c.id = read_chunk.chunk_id and c.state <> 'done';
  if not found then
    return;
  end if;
  v_parts := rowmill.source_parts_of(v_chunk.pipeline_id);
  -- One by one: a loop would have Postgres make ten rows before it looks at the first.
  open v_rows for execute format(
    $sql$
    select k.n, %6$s, %1$s
    from (select p.n, $1 -> p.n as key from generate_series($2, $3) as p(n)) as k
    join %2$s as s on %3$s
    where %4$s and (not $4 or (%5$s))
    $sql$,
    v_parts.input, v_parts.relation, v_parts.key_match, v_parts.selected, v_parts.missing, v_parts.hash
  )
  using v_chunk.keys, read_chunk.from_n, least(read_chunk.from_n + read_chunk.place_count, v_chunk.row_count) - 1, v_chunk.only_missing;
  loop
    fetch v_rows into n, hash, input;
    exit when not found;
    v_bytes := v_bytes + pg_column_size(input);
    if v_bytes > v_most then
      raise exception using errcode = '54000',
        message = case
          when read_chunk.place_count = 1 then format('the columns that the prompt names have %s bytes; a row may have %s', v_bytes, v_most)
          else format('%s places have more than %s bytes', read_chunk.place_count, v_most)
        end,
        hint = case when read_chunk.place_count = 1 then 'Shorten the row.' else 'Ask for fewer places.' end;
    end if;
    return next;
  end loop;
end;
$$;
comment on function rowmill.read_chunk is
  'Rows of a chunk as they are now: place in the chunk, hash of the input, input as {"column": text or null}, in no order. '
  'Rows that vanished or that the filter leaves out are not among them, so that a page may be empty before the end. '
  'Raises RM201 where the table or a column is gone, 54000 where the places have more than 16 MB, and what a filter or a cast raises '
  'for a row: ask for fewer places then.';
revoke all on function rowmill.read_chunk from public;
