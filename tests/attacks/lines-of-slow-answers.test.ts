import { afterEach, expect, it } from 'vitest';
import { boundedRun } from '../../src/bounded-run.ts';
import * as harvest from '../../src/jobs/harvest.ts';
import { compileOutcome } from '../../src/pipeline/outcome.ts';
import {
  ended,
  failures,
  type JobWorld,
  options,
  startJobWorld,
  submitted,
  summaries,
} from '../jobs/job-world.ts';
import { chatBody, makeDefinition, outputLine } from '../pipeline/factories.ts';
import { answerLine, jsonl } from '../support/fake-provider.ts';

let world: JobWorld | undefined;
afterEach(() => world?.stop());

it('an expression of a schema never runs over an answer', () => {
  const response_schema_text = JSON.stringify({
    type: 'object',
    properties: { summary: { type: 'string', pattern: '^(a+)+$' } },
  });
  const read = compileOutcome(makeDefinition({ response_schema_text }));
  const line = outputLine(chatBody(JSON.stringify({ summary: `${'a'.repeat(60)}!` })));
  // The bound interrupts an expression as well, so that this test ends in any case.
  expect(boundedRun(2_000, () => void read(line))).toBe(true);
  expect(read(line)).toMatchObject({ ok: true });
});

it('an answer that takes too long to check fails its row alone', async () => {
  const branch = { type: 'object', required: ['a'], properties: { a: { $ref: '#/$defs/node' } } };
  const output_schema = {
    type: 'object',
    properties: { summary: { $ref: '#/$defs/node' } },
    required: ['summary'],
    additionalProperties: false,
    $defs: { node: { anyOf: [branch, branch, { type: 'string' }] } },
  };
  world = await startJobWorld({ pipeline: { output_schema } });
  const ids = await submitted(world, 1, 20);
  // Minutes without a bound, and not years: so that this test ends in any case.
  const levels = 26;
  const deep = `{"summary":${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}}`;
  const slow = answerLine(ids[0]!, '@@').replace(
    /"content":"(?:[^"\\]|\\.)*"/,
    () => `"content":${JSON.stringify(deep)}`,
  );
  await ended(world, 'completed', {
    output: jsonl([slow, ...ids.slice(1).map((id) => answerLine(id, 'a summary'))]),
  });
  await harvest.runOnce(world.worker, options());
  expect(await summaries(world)).toEqual([null, ...Array(19).fill('a summary')]);
  expect(await failures(world)).toMatchObject([{ error_class: 'schema_mismatch', code: 'check_too_slow' }]);
});
