-- API: internal
create or replace function rowmill.why_in_flight(pipeline_id bigint, key jsonb)
returns table (explanation text, chunk_id bigint, batch_id bigint)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select
    case
      when c.batch_id is null then 'A worker is preparing its batch.'
      when b.state = 'preparing' then 'Its batch is being created at the provider.'
      when b.state = 'running' then
        format('Its batch runs since %s (%s).', date_trunc('second', b.submitted_at), b.provider_status)
      else 'Its batch has ended; the answer is being read.'
    end,
    r.chunk_id,
    c.batch_id
  from rowmill.chunk_rows as r
  join rowmill.chunks as c on c.id = r.chunk_id
  left join rowmill.batch_processing_details as b on b.id = c.batch_id
  where r.pipeline_id = why_in_flight.pipeline_id and md5(r.key::text) = md5(why_in_flight.key::text)
  order by r.chunk_id desc
  limit 1;
$$;
comment on function rowmill.why_in_flight is
  'How far a row is that a worker has taken; nothing where none has.';
revoke all on function rowmill.why_in_flight from public;
