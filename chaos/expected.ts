import { compileOutcome } from '../src/pipeline/outcome.ts';
import type { PipelineDefinition } from '../src/pipeline/pipeline.ts';
import { compileRequestLine } from '../src/pipeline/request-line.ts';
import { executeRequest } from '../src/simulator/execute.ts';
import { idSeries } from '../src/simulator/ids.ts';
import { type Json, readRequest } from '../src/simulator/request.ts';
import type { Connection } from './connection.ts';
import { type Subject, subjects } from './subjects.ts';

export type Input = Record<string, string | null>;

export type Expectation = {
  /** What the outputs must be over this input, in their order, as JSON text. */
  answer(input: Input): string;
  /** What the ledger knows a request over this input by. */
  prompt(input: Input): string;
};

/** What each table's rows must come to. */
export async function expectations(
  connection: Connection,
  wanted: readonly Subject[] = subjects,
): Promise<Map<Subject, Expectation>> {
  const found = new Map<Subject, Expectation>();
  for (const subject of wanted) {
    const [row] = await connection.run(
      (sql) => sql<{ definition: PipelineDefinition }[]>`
        select rowmill.get_pipeline(p.id) as definition from rowmill.pipelines as p where p.name = ${subject.name}`,
    );
    found.set(subject, expectationOf(row!.definition));
  }
  return found;
}

/**
 * Takes a pipeline as the database hands it to workers; returns what its rows must come to. It is computed by the
 * very code that asks, answers and reads, all of it pure: what is on trial is that each row got its own, and once.
 */
function expectationOf(definition: PipelineDefinition): Expectation {
  const write = compileRequestLine(definition);
  const read = compileOutcome(definition);
  const newId = idSeries();
  const bodyOf = (input: Input): Json => {
    const written = write(1, { n: 0, hash: '0'.repeat(16), input, scale: 1 });
    if (!('line' in written)) throw new Error(`no request can be made of ${JSON.stringify(input)}`);
    return (JSON.parse(written.line) as { body: Json }).body;
  };
  return {
    answer(input) {
      const { status, body } = executeRequest(definition.endpoint, bodyOf(input), newId);
      const outcome = read(
        `{"custom_id":"c","response":{"status_code":${status},"body":${body}},"error":null}`,
      );
      if (!outcome.ok) throw new Error(`${definition.name} cannot be answered: ${outcome.message}`);
      return JSON.stringify(outcome.values);
    },
    prompt: (input) => readRequest(definition.endpoint, bodyOf(input)).prompt,
  };
}
