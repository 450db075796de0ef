import type { Simulator } from '../src/simulator/simulator.ts';
import type { Connection } from './connection.ts';
import { type Expectation, expectations, type Input } from './expected.ts';
import type { Mode } from './hostile-modes.ts';
import { readRows } from './judge-rows.ts';
import { demanded, type Fact, shown, some } from './report.ts';
import { subjects as healthy, type Subject } from './subjects.ts';

type Count = { rows: number; right: number; failed: number };

/** What the rows of all pipelines hold, and what was ever written to them. */
export async function judgeAllRows(
  connection: Connection,
  simulator: Simulator,
  modes: Map<Mode, Subject>,
): Promise<{ facts: Fact[]; hostile: Map<Subject, Count> }> {
  const expected = await expectations(connection, [...healthy, ...modes.values()]);
  const spoilt = new Set([...modes].filter(([mode]) => mode.isSpoilt).map(([, subject]) => subject));
  const wrong: string[] = [];
  const unanswered: string[] = [];
  const repeated: string[] = [];
  const hostile = new Map<Subject, Count>();
  let enriched = 0;

  for (const [subject, { answer, prompt }] of expected) {
    const isHealthy = healthy.includes(subject);
    const isRight = (input: Input, outputs: unknown[]) => isSame(outputs, answer(input), spoilt.has(subject));
    const count: Count = { rows: 0, right: 0, failed: 0 };
    for (const { id, input, outputs, error_class: failure } of await connection.run((sql) =>
      readRows(sql, subject),
    )) {
      count.rows += 1;
      if (failure !== null) count.failed += 1;
      const isEmpty = outputs.every((value) => value === null);
      if (!isEmpty && isRight(input, outputs)) count.right += 1;
      if (isHealthy && isEmpty)
        unanswered.push(`${subject.name} ${id}: ${failure ?? 'nothing is said of it'}`);
      if (isHealthy && simulator.ledger.timesPrompted(prompt(input)) > 1)
        repeated.push(`${subject.name} ${id}`);
    }
    for (const write of await writesOf(connection, subject)) {
      if (!isRight(write.input, write.outputs))
        wrong.push(`${subject.name} ${write.id}: ${JSON.stringify(write.outputs).slice(0, 300)}`);
    }
    if (isHealthy) enriched += count.right;
    else hostile.set(subject, count);
  }
  const facts = [
    shown('healthy rows enriched', enriched),
    demanded('healthy rows without an answer at the end', unanswered.length, some(unanswered, String)),
    demanded('healthy rows that were paid for twice', repeated.length, some(repeated, String)),
    demanded('answers written that are not to the row, all pipelines', wrong.length, some(wrong, String)),
  ];
  return { facts, hostile };
}

async function writesOf(
  connection: Connection,
  subject: Subject,
): Promise<{ id: number; input: Input; outputs: unknown[] }[]> {
  return await connection.run(
    (sql) => sql<{ id: number; input: Input; outputs: unknown[] }[]>`
      select w.id::integer as id, w.input, w.outputs from written as w where w.name = ${subject.name}`,
  );
}

/** A blank that was made no text by the provider is a replacement character to who reads it. */
function isSame(outputs: unknown[], answer: ReturnType<Expectation['answer']>, isSpoilt: boolean): boolean {
  const found = JSON.stringify(outputs);
  return found === answer || (isSpoilt && found.replaceAll('\ufffd', ' ') === answer);
}
