import type OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { createFaults } from '../../src/simulator/create-faults.ts';
import { parseFault } from '../../src/simulator/fault-rules.ts';
import { startSimulator } from '../../src/simulator/simulator.ts';
import { validationCodes } from '../../src/simulator/validation-forms.ts';
import { chatLine, clientFor, readResults, runBatch, start, startWith, submit, until } from './harness.ts';

const lines = (count: number) => Array.from({ length: count }, (_, i) => chatLine(`c-${i}`, `Row ${i}`));
const isIn = (status: string) => (batch: OpenAI.Batch) => batch.status === status;
const codesOf = (results: Awaited<ReturnType<typeof readResults>>) => [
  ...new Set(results.map(({ response, error }) => `${response} ${error?.code}`)),
];

describe('a batch that is stuck', () => {
  const stuck = ['validating', 'in_progress', 'finalizing'] as const;

  it.each(stuck)('in %s goes on when its time is over, and others never wait', async (state) => {
    const { openai } = await startWith(`stuck_${state}@1;ms=1000`);
    const { id } = await submit(openai, lines(3));
    expect(await runBatch(openai, lines(3))).toMatchObject({ status: 'completed' });
    const batch = await openai.batches.retrieve(id);
    expect(batch.status).toBe(state);
    expect(batch.request_counts!.completed).toBe(state === 'finalizing' ? 3 : 0);
    expect(batch.output_file_id).toBeNull();
    expect(await until(openai, id)).toMatchObject({ status: 'completed', request_counts: { completed: 3 } });
  });

  it.each(['validating', 'in_progress'])('for ever in %s can be cancelled', async (state) => {
    const { openai } = await startWith(`stuck_${state}`);
    const { id } = await submit(openai, lines(3));
    await until(openai, id, isIn(state));
    await openai.batches.cancel(id);
    const batch = await until(openai, id);
    expect(batch).toMatchObject({ status: 'cancelled', output_file_id: null });
    const errors = await readResults(openai, batch.error_file_id);
    expect(codesOf(errors)).toEqual(state === 'validating' ? [] : ['null batch_cancelled']);
    expect(errors).toHaveLength(state === 'validating' ? 0 : 3);
  });

  it('for ever in finalizing cannot be cancelled', async () => {
    const { openai } = await startWith('stuck_finalizing');
    const { id } = await submit(openai, lines(3));
    await until(openai, id, isIn('finalizing'));
    await expect(openai.batches.cancel(id)).rejects.toMatchObject({ status: 409 });
  });

  it.each(stuck)('for ever in %s does not keep the simulator from closing', async (state) => {
    const simulator = await startSimulator({ faults: createFaults([parseFault(`stuck_${state}`)]) });
    const { id } = await submit(clientFor(simulator), lines(3));
    await until(clientFor(simulator), id, isIn(state));
    const before = performance.now();
    await simulator.close();
    expect(performance.now() - before).toBeLessThan(1_000);
    expect(simulator.batches()[0]!.status).not.toBe('completed');
  });
});

describe('a batch that fails validation', () => {
  const documented: Record<string, [param: string | null, line: number | null, message: RegExp]> = {
    invalid_request: [
      'file_id',
      null,
      /^Cannot find file file-\w+, or organization .* does not have access to it\.$/,
    ],
    invalid_json_line: [null, 1, /^This line is not parseable as valid JSON\.$/],
    missing_required_parameter: ['custom_id', 1, /^Missing required parameter: 'custom_id'\.$/],
    invalid_url: ['url', 1, /^The URL provided for this request does not match the batch endpoint\.$/],
    model_not_found: [
      'body.model',
      1,
      /^The provided model 'gpt-4o-mini-2024-07-18' is not supported by the Batch API\.$/,
    ],
    streaming_unsupported: [
      'body.stream',
      1,
      /^Chat Completions: Streaming is not supported in the Batch API\.$/,
    ],
    mismatched_model: ['body.model', 1, /does not match the model/],
    token_limit_exceeded: [
      null,
      null,
      /^Enqueued token limit reached for gpt-4o-mini.* in organization .*\. Limit: 2,000,000 enqueued tokens\. Please try again once some in_progress batches have been completed\.$/,
    ],
    duplicate_custom_id: ['custom_id', 1, /must be unique/],
    empty_file: [null, null, /empty/],
    too_many_tasks: [null, null, /maximum of 50000/],
    file_too_large: [
      null,
      null,
      /^The batch input file is larger than the 209715200 maximum for the gpt-4o-mini.* model$/,
    ],
    invalid_method: ['method', 1, /POST/],
  };

  it.each(validationCodes)('may do so for %s, in the form that it has', async (code) => {
    const { openai, simulator } = await startWith(`fails_validation@2;code=${code}`);
    expect(await runBatch(openai, lines(2))).toMatchObject({ status: 'completed', errors: null });
    const batch = await runBatch(openai, lines(2));
    expect(batch).toMatchObject({ status: 'failed', output_file_id: null, error_file_id: null });
    expect(batch.failed_at).not.toBeNull();
    // Azure's words are known, and no more of them.
    const [param, line, message] = documented[code] ?? [null, null, new RegExp(code)];
    expect(batch.errors).toEqual({
      object: 'list',
      data: [{ code, param, line, message: expect.stringMatching(message) }],
    });
    expect(simulator.ledger.executed).toBe(2);
  });

  it('does so for every code of OpenAI by turns, where the rule names none', async () => {
    const { openai } = await startWith('fails_validation');
    const codes: string[] = [];
    for (const _ of Object.keys(documented))
      codes.push((await runBatch(openai, lines(1))).errors!.data![0]!.code!);
    expect(codes).toEqual(Object.keys(documented));
  });

  it('does so in every form of a code by turns', async () => {
    const { openai } = await startWith('fails_validation;code=invalid_request');
    const params: unknown[] = [];
    for (let i = 0; i < 4; i++) params.push((await runBatch(openai, lines(1))).errors!.data![0]!.param);
    expect(params).toEqual(['file_id', 'body.model', 'body.messages', 'file_id']);
  });
});

describe('a batch that ends early', () => {
  it.each([
    ['expires', 'expired', 'batch_expired'],
    ['cancels', 'cancelled', 'batch_cancelled'],
  ] as const)('%s with its share executed, and names the rest', async (fault, status, code) => {
    const { openai, simulator } = await startWith(`${fault}@1`, `${fault}@2;share=0.29`);
    for (const [count, executed] of [
      [30, 21],
      [100, 29],
    ] as const) {
      const batch = await runBatch(openai, lines(count));
      expect(batch).toMatchObject({ status, request_counts: { total: count, completed: executed } });
      expect(batch[`${status}_at`]).not.toBeNull();
      expect(batch.cancelling_at === null).toBe(status === 'expired');
      const [done, rest] = [
        await readResults(openai, batch.output_file_id),
        await readResults(openai, batch.error_file_id),
      ];
      expect([done.length, rest.length]).toEqual([executed, count - executed]);
      expect(codesOf(rest)).toEqual([`null ${code}`]);
    }
    expect(simulator.ledger).toMatchObject({ executed: 50, spoiled: 0 });
    expect(await runBatch(openai, lines(3))).toMatchObject({ status: 'completed' });
  });

  it.each([
    ['expires', 'expired'],
    ['cancels', 'cancelled'],
  ])('%s with none or all of it executed, where the share says so', async (fault, status) => {
    const { openai } = await startWith(`${fault}@1;share=0`, `${fault}@2;share=1`);
    const none = await runBatch(openai, lines(4));
    expect(none).toMatchObject({ status, output_file_id: null, request_counts: { completed: 0 } });
    expect(await readResults(openai, none.error_file_id)).toHaveLength(4);
    const all = await runBatch(openai, lines(4));
    expect(all).toMatchObject({ status, error_file_id: null, request_counts: { completed: 4 } });
    expect(await readResults(openai, all.output_file_id)).toHaveLength(4);
  });

  it('is cancelled where a cancel comes while it expires', async () => {
    const { openai } = await start({
      faults: {
        expires: () => true,
        // Slow enough for the cancel to come in between; the simulator breathes every few milliseconds.
        written(_batch, line) {
          const until = performance.now() + 2;
          while (performance.now() < until);
          return [line];
        },
      },
    });
    const { id } = await submit(openai, lines(200));
    await until(openai, id, isIn('in_progress'));
    await openai.batches.cancel(id);
    const batch = await until(openai, id);
    expect(batch).toMatchObject({ status: 'cancelled', errors: null });
    expect(await readResults(openai, batch.error_file_id)).toHaveLength(200);
  });
});

describe('a batch without its output file', () => {
  it('is completed and paid for, and its answers are spoiled', async () => {
    const { openai, simulator } = await startWith('no_output_file@1', 'request_fails@1');
    const batch = await runBatch(openai, lines(5));
    expect(batch).toMatchObject({ status: 'completed', output_file_id: null });
    expect(batch.request_counts).toEqual({ total: 5, completed: 4, failed: 1 });
    expect(batch.usage!.output_tokens).toBe(simulator.ledger.outputTokens);
    expect(await readResults(openai, batch.error_file_id)).toHaveLength(1);
    expect(simulator.files().map(({ purpose }) => purpose)).toEqual(['batch', 'batch_output']);
    expect(simulator.ledger.summary()).toMatchObject({ executed: 5, spoiled: 4, unexplainedRepeats: 0 });
    expect(await readResults(openai, (await runBatch(openai, lines(5))).output_file_id)).toHaveLength(5);
    expect(simulator.ledger.summary()).toMatchObject({ repeatedPrompts: 4, unexplainedRepeats: 0 });
    await runBatch(openai, lines(5));
    expect(simulator.ledger.summary()).toMatchObject({ spoiled: 4, unexplainedRepeats: 5 });
  });
});

describe('a batch whose files have no final newline', () => {
  it('has all of its lines in them all the same', async () => {
    const { openai } = await startWith('no_final_newline@1', 'request_fails@1,2');
    for (const [end, count] of [
      ['}', 1_998],
      ['\n', 2_000],
    ] as const) {
      const batch = await runBatch(openai, lines(2_000));
      const text = await (await openai.files.content(batch.output_file_id!)).text();
      expect(text.at(-1)).toBe(end);
      expect(text.trimEnd().split('\n')).toHaveLength(count);
      for (const line of text.trimEnd().split('\n')) JSON.parse(line);
      if (!batch.error_file_id) continue;
      expect((await (await openai.files.content(batch.error_file_id)).text()).at(-1)).toBe('}');
    }
  });
});
