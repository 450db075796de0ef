-- API: internal
create or replace function rowmill.why_over(
  pipeline rowmill.pipelines,
  failure rowmill.failures,
  is_selected boolean,
  is_missing boolean,
  out state text,
  out explanation text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if (why_over.failure).is_final then
    state := 'failed';
    explanation := format(
      'It failed after %s, last at %s: %s: %s An edit of the row, or select rowmill.retry_failed(%L, %L), tries it again.',
      case (why_over.failure).attempts when 1 then 'one attempt' else (why_over.failure).attempts || ' attempts' end,
      date_trunc('second', (why_over.failure).last_at),
      (why_over.failure).error_class,
      rtrim((why_over.failure).message, '.') || '.',
      (why_over.pipeline).name,
      (why_over.failure).error_class
    );
  elsif not why_over.is_missing then
    state := 'enriched';
    explanation := 'Its outputs are filled, and nothing is under way.';
  elsif not coalesce(why_over.is_selected, false) then
    state := 'not_selected';
    explanation := 'The filter leaves it out, or an input that another pipeline fills is still null.';
  else
    state := 'unknown';
    explanation := format(
      'It was never queued, or its answer was null throughout; select rowmill.backfill(%L, only_missing => true) queues it.',
      (why_over.pipeline).name
    );
  end if;
end;
$$;
comment on function rowmill.why_over is
  'What became of a row for which nothing is under way.';
revoke all on function rowmill.why_over from public;
