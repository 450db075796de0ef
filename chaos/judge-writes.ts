import type { Connection } from './connection.ts';
import type { Expectation, Input } from './expected.ts';
import { demanded, type Fact, shown, some } from './report.ts';
import { type Subject, subjects } from './subjects.ts';

type Write = { id: number; input: Input; outputs: unknown[]; at: string };

/** Every answer that was ever written against the input that its row had at that moment. */
export async function judgeWrites(
  connection: Connection,
  expected: Map<Subject, Expectation>,
): Promise<Fact[]> {
  const stale: string[] = [];
  let written = 0;
  for (const subject of subjects) {
    const writes = await connection.run(
      (sql) => sql<Write[]>`
        select w.id::integer as id, w.input, w.outputs, w.at::time(3)::text as at
        from written as w where w.name = ${subject.name}`,
    );
    written += writes.length;
    for (const { id, input, outputs, at } of writes) {
      const answer = JSON.stringify(outputs);
      if (answer === expected.get(subject)!.answer(input)) continue;
      stale.push(`${subject.name} ${id} at ${at}: ${answer} over ${JSON.stringify(input)}`);
    }
  }
  return [
    shown('answers written', written),
    demanded('answers written over another input', stale.length, some(stale, String)),
  ];
}
