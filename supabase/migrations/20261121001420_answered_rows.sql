-- An answer is paid for once, although its row may stand in the queue twice.
--
-- A row that is inserted and edited before its chunk is read is in the queue twice, and both readings see the edit.
-- While the first is in flight, hold_rows leaves the second out. But if that comes only after the answer, it would ask
-- again, and pay again. So an answer is remembered for as long as something that may repeat it (an edit, a retry, a
-- backfill) is queued and unread, and no longer: an import pays nothing for it.
-- Workers need not stop.

alter table rowmill.pending_keys add column may_repeat boolean not null default true;
alter table rowmill.pending_keys add column first_entry bigint;
comment on column rowmill.pending_keys.may_repeat is 'false: keys of inserted rows, which nobody can have asked for before.';
comment on column rowmill.pending_keys.first_entry is 'Where its keys stood in the queue before they came back from a chunk; null: they are new.';
-- Asked for with every slice of results, however long the queue and the history are.
create index batches_preparing on rowmill.batch_processing_details (pipeline_id) where state = 'preparing';
create index pending_keys_that_may_repeat on rowmill.pending_keys (pipeline_id) where may_repeat;
alter table rowmill.chunks add column may_repeat boolean not null default true;
alter table rowmill.chunks add column oldest_entry bigint not null default 0;
comment on column rowmill.chunks.may_repeat is 'Whether any of its keys may have been asked for before.';
comment on column rowmill.chunks.oldest_entry is 'The lowest number in the queue among its keys.';

create table rowmill.answered_rows (
  pipeline_id bigint not null,
  key jsonb not null,
  hash text not null,
  queue_position bigint not null
);
create index answered_rows_by_key on rowmill.answered_rows (pipeline_id, md5(key::text));
alter table rowmill.answered_rows enable row level security;
comment on table rowmill.answered_rows is 'Inputs whose answers were written while something that may ask for them again was queued and unread; the tick forgets them when it no longer is.';
comment on column rowmill.answered_rows.queue_position is 'The last number of the queue when the answer was written: what came later knows the answer.';

-- API: internal
create function rowmill.oldest_unread(pipeline_id bigint)
returns bigint
language sql
stable
set search_path = ''
as $$
  select least(
    (
      select min(coalesce(k.first_entry, k.id))
      from rowmill.pending_keys as k
      where k.pipeline_id = oldest_unread.pipeline_id
    ),
    (
      select min(c.oldest_entry)
      from rowmill.chunks as c
      where c.pipeline_id = oldest_unread.pipeline_id and c.state in ('waiting', 'accepted')
    ),
    (
      -- It may be given up yet, and its chunks be read anew.
      select min(c.oldest_entry)
      from rowmill.batch_processing_details as b
      join rowmill.chunks as c on c.batch_id = b.id
      where b.pipeline_id = oldest_unread.pipeline_id and b.state = 'preparing'
    )
  );
$$;
comment on function rowmill.oldest_unread(bigint) is 'The lowest number in the queue of a pipeline whose rows are not read yet, or may be read again; null where there is none.';
revoke all on function rowmill.oldest_unread(bigint) from public;

-- API: internal
create function rowmill.has_unread(pipeline_id bigint)
returns boolean
language sql
stable
set search_path = ''
as $$
  select exists (
    select from rowmill.pending_keys as k where k.pipeline_id = has_unread.pipeline_id
  ) or exists (
    select from rowmill.chunks as c where c.pipeline_id = has_unread.pipeline_id and c.state in ('waiting', 'accepted')
  ) or exists (
    select from rowmill.batch_processing_details as b where b.pipeline_id = has_unread.pipeline_id and b.state = 'preparing'
  );
$$;
comment on function rowmill.has_unread(bigint) is 'Whether anything of a pipeline is queued and not read yet, or may be read again.';
revoke all on function rowmill.has_unread(bigint) from public;

-- API: internal
create function rowmill.has_unread_that_may_repeat(pipeline_id bigint)
returns boolean
language sql
stable
set search_path = ''
as $$
  select exists (
    select from rowmill.pending_keys as k where k.pipeline_id = has_unread_that_may_repeat.pipeline_id and k.may_repeat
  ) or exists (
    select
    from rowmill.chunks as c
    where c.pipeline_id = has_unread_that_may_repeat.pipeline_id and c.state in ('waiting', 'accepted') and c.may_repeat
  ) or exists (
    select
    from rowmill.batch_processing_details as b
    join rowmill.chunks as c on c.batch_id = b.id
    where b.pipeline_id = has_unread_that_may_repeat.pipeline_id and b.state = 'preparing' and c.may_repeat
  );
$$;
comment on function rowmill.has_unread_that_may_repeat(bigint) is 'The same for what may ask again for a row that somebody has asked for.';
revoke all on function rowmill.has_unread_that_may_repeat(bigint) from public;

-- API: internal
create function rowmill.position_to_remember(pipeline_id bigint, chunk_ids bigint[])
returns bigint
language plpgsql
stable
set search_path = ''
as $$
begin
  if exists (select from rowmill.chunks as c where c.id = any (position_to_remember.chunk_ids) and c.may_repeat) then
    if rowmill.has_unread(position_to_remember.pipeline_id) then
      return pg_sequence_last_value('rowmill.pending_keys_id_seq');
    end if;
  elsif rowmill.has_unread_that_may_repeat(position_to_remember.pipeline_id) then
    -- Two of which neither may repeat the other are two rows.
    return pg_sequence_last_value('rowmill.pending_keys_id_seq');
  end if;
  return null;
end;
$$;
comment on function rowmill.position_to_remember(bigint, bigint[]) is
  'Where the queue stands, if the answers of these chunks are to be remembered because something unread may ask for them again; else null.';
revoke all on function rowmill.position_to_remember(bigint, bigint[]) from public;
