-- API: internal
create or replace function rowmill.share_of_room(
  pipeline_id bigint,
  model text,
  room rowmill.room,
  history rowmill.usage_history,
  sharers integer -- pipelines that wait for the same model, this one among them
)
returns table (
  is_in_hand boolean, -- workers have chunks of the model that they have not submitted yet
  tokens_free numeric, -- of the queue, once what is in hand has taken its part; null: no limit known
  tokens_left numeric, -- of those, what this pipeline may take
  has_own_tokens boolean, -- it has some, in the queue or in hand
  is_gap boolean, -- not all that waits fits into the queue, and what is left is less than half of the pipeline's part
  alone integer -- chunks that have not been tried travel by so many
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tokens_in_hand numeric;
  v_own_tokens numeric;
  v_tokens_of_all bigint := (room.tokens + room.tokens_in_queue) / sharers; -- the pipeline's part of the model's whole queue
  v_backlog bigint;
  v_backlog_rows bigint;
  v_is_scarce boolean;
begin
  -- What another worker has in hand, and has not submitted yet, will take its part.
  select count(*) > 0, coalesce(sum(h.tokens), 0), coalesce(sum(h.tokens) filter (where h.is_own), 0)
  into strict is_in_hand, v_tokens_in_hand, v_own_tokens
  from (
    select c.pipeline_id = share_of_room.pipeline_id as is_own,
      coalesce(c.raw_input_tokens * coalesce((history).input_factor, 1), c.row_count * (history).tokens_per_request) as tokens
    from rowmill.chunks as c
    join rowmill.pipelines as p on p.id = c.pipeline_id
    where c.state = 'accepted' and p.model = share_of_room.model
  ) as h;
  v_own_tokens := v_own_tokens + (
    select coalesce(sum(b.reserved_tokens), 0)
    from rowmill.batch_processing_details as b
    where b.pipeline_id = share_of_room.pipeline_id and b.model = share_of_room.model and b.state in ('preparing', 'running')
  );
  has_own_tokens := v_own_tokens > 0;
  tokens_free := room.tokens - v_tokens_in_hand;
  tokens_left := round(least(tokens_free, v_tokens_of_all - v_own_tokens));
  select count(*), coalesce(sum(c.row_count), 0) into strict v_backlog, v_backlog_rows
  from rowmill.chunks as c
  where c.pipeline_id = share_of_room.pipeline_id and c.state = 'waiting';
  v_is_scarce := coalesce(v_backlog_rows * (history).tokens_per_request > tokens_left, false);
  is_gap := v_is_scarce and tokens_left < v_tokens_of_all / 2;
  alone := case
    -- More than the queue takes waits in any case: in as few batches as it goes.
    when v_is_scarce then v_backlog
    else greatest(1, v_backlog / 100, ceil(v_backlog::numeric / greatest(room.batches, 1)))
  end;
  return next;
end;
$$;
comment on function rowmill.share_of_room is
  'What of a room a pipeline may take for its next batch, where several wait for the same model and other workers are at work; one row.';
revoke all on function rowmill.share_of_room from public;
