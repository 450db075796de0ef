-- API: internal
create or replace function rowmill.note_full_queue(model text, tokens bigint)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  insert into rowmill.model_states as m (model, learned_tokens, strikes, blocked_until)
  select note_full_queue.model, greatest(1, (t.in_queue + rowmill.clamped(note_full_queue.tokens)) * 7 / 10),
    1, now() + s.retry_after
  from rowmill.tokens_left(note_full_queue.model) as t
  cross join rowmill.settings as s
  on conflict (model) do update
  set
    -- Several batches that were on their way together are turned away together; that is one lesson.
    learned_tokens = case when m.blocked_until > now() then m.learned_tokens else excluded.learned_tokens end,
    strikes = case when m.blocked_until > now() then m.strikes else m.strikes + 1 end,
    blocked_until = case
      when m.blocked_until > now() then m.blocked_until
      else now() + least((excluded.blocked_until - now()) * power(2, least(m.strikes, 10)), interval '1 hour')
    end;
$$;
comment on function rowmill.note_full_queue is
   'The provider had no room for so many tokens more: the model is left alone for settings.retry_after, twice as long each time in a row, '
  'and then filled to seven tenths of what was too much.';
revoke all on function rowmill.note_full_queue from public;
