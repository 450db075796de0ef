import { readFile } from 'node:fs/promises';
import type { Connection } from './connection.ts';
import { demanded, type Fact, shown, some } from './report.ts';

/** What is open in the tables, and what the server's log complains of. */
export async function judgeDatabase(connection: Connection, logFile: string): Promise<Fact[]> {
  const log = await readFile(logFile, 'utf8');
  const deadlocks = log.split('\n').filter((line) => line.includes('deadlock detected'));
  const open = await tell(
    connection,
    `select format('batch %s %s of %s, owner %s, %s', b.id, b.state, b.created_at::time(3), b.owner, b.problem) as told
     from rowmill.batch_processing_details as b where b.state in ('preparing', 'running', 'ended', 'harvested')`,
  );
  const queued = await tell(
    connection,
    `select format('%s: %s pending, %s waiting, %s in flight; %s', s.name, s.pending, s.waiting, s.in_flight, s.problem) as told
     from rowmill.pipeline_status as s where s.pending + s.waiting + s.in_flight > 0`,
  );
  const leases = await tell(
    connection,
    `select format('chunk %s of %s until %s', c.id, c.owner, c.lease_until::time(3)) as told
     from rowmill.chunks as c where c.owner is not null
     union all
     select format('batch %s %s of %s until %s', b.id, b.state, b.owner, b.lease_until::time(3))
     from rowmill.batch_processing_details as b where b.owner is not null`,
  );
  const held = await tell(
    connection,
    `select format('chunk %s (%s) place %s: %s', r.chunk_id, c.state, r.n, r.key) as told
     from rowmill.chunk_rows as r left join rowmill.chunks as c on c.id = r.chunk_id`,
  );
  const lost = await tell(
    connection,
    `select format('%s %s: %s %s', e.pipeline_id, e.happened_at::time(3), e.sqlstate, e.message) as told
     from rowmill.trigger_errors as e where e.what <> 'chunk'`,
  );
  const problems = await tell(
    connection,
    `select format('%s: %s', s.name, s.problem) as told from rowmill.pipeline_status as s where s.problem is not null`,
  );
  const states = await tell(
    connection,
    `select format('%s: %s', b.state, count(*)) as told from rowmill.batch_processing_details as b group by b.state`,
  );
  const batches = await tell(
    connection,
    'select b.id::text as told from rowmill.batch_processing_details as b',
  );
  return [
    demanded('batches of ours still open', open.length, some(open, String)),
    demanded('pipelines with work left', queued.length, some(queued, String)),
    demanded('leases left', leases.length, some(leases, String)),
    demanded('rows left in flight', held.length, some(held, String)),
    demanded('triggers that lost keys', lost.length, some(lost, String)),
    demanded('deadlocks', deadlocks.length, some(deadlocks, String)),
    shown('pipelines that still tell of a problem', problems.length, problems),
    shown('batches of ours', batches.length, states),
    shown('different errors in the log of Postgres', ...errorsIn(log)),
  ];
}

async function tell(connection: Connection, query: string): Promise<string[]> {
  const rows = await connection.run((sql) => sql.unsafe<{ told: string }[]>(query));
  return rows.map((row) => row.told);
}

/** How many kinds there are, and how often each came. */
function errorsIn(log: string): [number, string[]] {
  const counts = new Map<string, number>();
  for (const [, message] of log.matchAll(/ ((?:ERROR|PANIC):.*)$/gm)) {
    const kind = message!.replaceAll(/\d+/g, 'N');
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  const sorted = [...counts].sort((a, b) => b[1] - a[1]);
  return [counts.size, some(sorted, ([kind, count]) => `${count} × ${kind}`, 10)];
}
