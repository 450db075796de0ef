import type { Simulator } from '../src/simulator/simulator.ts';
import type { Connection } from './connection.ts';
import type { Expectation, Input } from './expected.ts';
import { some } from './report.ts';
import type { Subject } from './subjects.ts';
import type { Execution, Trace } from './trace.ts';
import type { Version, Versions } from './versions.ts';

type Repeated = { version: Version; hash: string; executions: Execution[] };

/** In words: versions that were paid for more often than spoiled answers explain, and the batches that did it. */
export async function tellRepeats(
  connection: Connection,
  simulator: Simulator,
  expected: Map<Subject, Expectation>,
  versions: Versions,
  trace: Trace,
): Promise<string[]> {
  const suspects = versions.all.filter(
    (version) => simulator.ledger.timesPrompted(expected.get(version.subject)!.prompt(inputOf(version))) > 1,
  );
  const repeated: Repeated[] = [];
  for (const version of suspects) {
    const hash = await hashOf(connection, version);
    const executions = trace.of(hash);
    const paid = executions.filter((execution) => execution.became === 'paid').length;
    if (paid > 1) repeated.push({ version, hash, executions });
  }
  const told: string[] = [];
  for (const { version, hash, executions } of repeated.slice(0, 5)) {
    told.push(`"${version.text}", hash ${hash}:`);
    for (const { providerBatchId, customId, became } of executions) {
      told.push(`  ${became}: ${customId} in ${await tellBatch(connection, simulator, providerBatchId)}`);
    }
  }
  return [...told, ...some(repeated.slice(5), ({ version }) => `"${version.text}"`, 3)];
}

function inputOf({ subject, id, text }: Version): Input {
  const fields = subject.fields(id, text);
  return Object.fromEntries(subject.inputs.map((name) => [name, String(fields[name])]));
}

async function hashOf(connection: Connection, { subject, id, text }: Version): Promise<string> {
  const [row] = await connection.run(async (sql) => {
    const [parts] = await sql<{ hash: string }[]>`
      select (rowmill.source_parts_of(p.id)).hash as hash from rowmill.pipelines as p where p.name = ${subject.name}`;
    return await sql.unsafe<{ hash: string }[]>(
      `select ${parts!.hash} as hash from jsonb_populate_record(null::${subject.name}, $1::text::jsonb) as s`,
      [JSON.stringify(subject.fields(id, text))],
    );
  });
  return row!.hash;
}

async function tellBatch(connection: Connection, simulator: Simulator, id: string): Promise<string> {
  const seen = simulator.batches().find((batch) => batch.id === id);
  const key = seen?.metadata?.rowmill_key ?? '';
  const [row] = await connection.run(
    (sql) => sql<{ told: string }[]>`
      select format('our batch %s %s, created %s, submitted %s, ended %s, over %s, chunks %s, %s', b.id, b.state,
        b.created_at::time(3), b.submitted_at::time(3), b.ended_at::time(3), b.done_at::time(3),
        (select string_agg(c.id || ' ' || c.state, ', ') from rowmill.chunks as c where c.batch_id = b.id),
        coalesce(b.problem, 'no problem')) as told
      from rowmill.batch_processing_details as b
      where b.provider_batch_id = ${id} or b.key = ${key}`,
  );
  return `${id} ${seen?.status}: ${row?.told ?? `no batch of ours, key ${key}`}`;
}
