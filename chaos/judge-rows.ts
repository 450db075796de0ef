import type postgres from 'postgres';
import type { Connection } from './connection.ts';
import type { Expectation, Input } from './expected.ts';
import { demanded, type Fact, shown, some } from './report.ts';
import { type Subject, subjects } from './subjects.ts';
import { inputSql, outputSql } from './tables.ts';
import type { Usage } from './users.ts';
import type { Versions } from './versions.ts';

export type Row = {
  id: number;
  input: Input;
  outputs: unknown[];
  error_class: string | null;
  is_of_input: boolean;
};
type Named = { row: string; note: string };
type Findings = {
  there: number;
  right: number;
  failed: Map<string, number>;
  missing: Named[];
  wrong: Named[];
  vanished: Named[];
  undead: Named[];
};

/** Every row against the answer to the input that it has now. */
export async function judgeRows(
  connection: Connection,
  expected: Map<Subject, Expectation>,
  usage: Usage,
  versions: Versions,
): Promise<Fact[]> {
  const findings: Findings = {
    ...{ there: 0, right: 0, failed: new Map() },
    ...{ missing: [], wrong: [], vanished: [], undead: [] },
  };
  for (const subject of subjects) {
    const rows = await connection.run((sql) => readRows(sql, subject));
    judgeTable(subject, rows, expected.get(subject)!, usage, versions, findings);
  }
  const wanted = [...usage.alive.values()].reduce((sum, ids) => sum + ids.size, 0);
  const failed = [...findings.failed.values()].reduce((sum, count) => sum + count, 0);
  const classes = [...findings.failed].map(([name, count]) => `${name}: ${count}`);
  const tell = ({ row, note }: Named) => `${row}: ${note}`;
  return [
    demanded('rows in the tables', findings.there, [], wanted),
    demanded(
      'rows that were committed and are gone',
      findings.vanished.length,
      some(findings.vanished, tell),
    ),
    demanded('rows that were undone and are there', findings.undead.length, some(findings.undead, tell)),
    shown('rows enriched with the answer to their input', findings.right),
    shown('rows named in row_failures', failed, classes),
    demanded('rows lost: neither', findings.missing.length, some(findings.missing, tell, 10)),
    demanded('rows with a wrong answer', findings.wrong.length, some(findings.wrong, tell, 10)),
  ];
}

/** The rows of a table, each with its failure if it has one. */
export async function readRows(sql: postgres.Sql, subject: Subject): Promise<Row[]> {
  const [found] = await sql<{ key: string; hash: string }[]>`
    select (rowmill.source_parts_of(p.id)).key_value as key, (rowmill.source_parts_of(p.id)).hash as hash
    from rowmill.pipelines as p where p.name = ${subject.name}`;
  return await sql.unsafe<Row[]>(
    `select
       s.id::integer as id,
       ${inputSql(subject, 's')} as input,
       ${outputSql(subject, 's')} as outputs,
       f.error_class,
       coalesce(f.input_hash = ${found!.hash}, false) as is_of_input
     from ${subject.name} as s
     left join rowmill.row_failures as f on f.pipeline = '${subject.name}' and f.key = ${found!.key}
     order by s.id`,
  );
}

function judgeTable(
  subject: Subject,
  rows: Row[],
  expected: Expectation,
  usage: Usage,
  versions: Versions,
  findings: Findings,
): void {
  const wanted = new Set(usage.alive.get(subject));
  for (const row of rows) {
    const name = `${subject.name} ${row.id}`;
    const found = JSON.stringify(row.outputs);
    const isEmpty = row.outputs.every((value) => value === null);
    if (!wanted.delete(row.id)) findings.undead.push({ row: name, note: 'should not be there' });
    findings.there += 1;
    if (found === expected.answer(row.input)) findings.right += 1;
    else if (row.error_class !== null && row.is_of_input) {
      findings.failed.set(row.error_class, (findings.failed.get(row.error_class) ?? 0) + 1);
    } else {
      const stale = isEmpty ? null : findVersion(subject, row, found, expected, versions);
      const note = isEmpty ? 'no answer' : stale === null ? found : `still has the answer to "${stale}"`;
      // An old answer was right once: what was lost is the edit.
      findings[isEmpty || stale !== null ? 'missing' : 'wrong'].push({
        row: name,
        note: `${note}; its input is "${row.input[subject.textColumn]}"`,
      });
    }
  }
  for (const id of wanted) findings.vanished.push({ row: `${subject.name} ${id}`, note: 'should be there' });
}

/** The text of an earlier version that was answered so. */
function findVersion(
  subject: Subject,
  row: Row,
  answer: string,
  expected: Expectation,
  versions: Versions,
): string | null {
  const version = versions
    .of(subject, row.id)
    .find(({ text }) => expected.answer({ ...row.input, [subject.textColumn]: text }) === answer);
  return version?.text ?? null;
}
