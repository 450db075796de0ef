import { describe, expect, it } from 'vitest';
import { createFaults } from '../../src/simulator/create-faults.ts';
import { parseFault } from '../../src/simulator/fault-rules.ts';
import type { SimulatorOptions } from '../../src/simulator/simulator.ts';
import {
  chatLine,
  type Line,
  readResults,
  responsesLine,
  runBatch,
  start,
  submit,
  until,
} from './harness.ts';
import { schemas } from './schemas.ts';

const model = 'gpt-4o-mini-2024-07-18';
// Ten tokens each: eight, and two for five characters.
const lines = (count: number, body: Line = {}) =>
  Array.from({ length: count }, (_, i) => chatLine(`c-${i}`, `Row ${i}`, undefined, body));
const startLimited = (enqueuedTokens: number, rules: string[] = [], options: SimulatorOptions = {}) =>
  start({ enqueuedTokens, faults: createFaults(rules.map(parseFault)), ...options });
const isRunning = ({ status }: { status?: string }) => status === 'in_progress';

describe('the enqueued tokens', () => {
  it('let a batch fail that would pass the limit: created first, then failed, and nothing executed', async () => {
    const { openai, simulator } = await startLimited(1_030, ['stuck_in_progress@1']);
    const first = await submit(openai, lines(10));
    await until(openai, first.id, isRunning);
    const created = await submit(openai, lines(94));
    expect(created).toMatchObject({ status: 'validating', errors: null });
    const batch = await until(openai, created.id);
    expect(batch).toMatchObject({ status: 'failed', output_file_id: null, error_file_id: null });
    expect(batch.errors!.data).toEqual([
      {
        code: 'token_limit_exceeded',
        param: null,
        line: null,
        message:
          `Enqueued token limit reached for ${model} in organization org-simulator. Limit: 1,030 enqueued tokens. ` +
          'Please try again once some in_progress batches have been completed.',
      },
    ]);
    expect(simulator.enqueued()).toEqual({ [model]: 100 });
    expect(simulator.ledger.executed).toBe(0);
  });

  it('may reach the limit, and not pass it', async () => {
    const { openai, simulator } = await startLimited(50, ['stuck_in_progress@1']);
    const { id } = await submit(openai, lines(3));
    await until(openai, id, isRunning);
    expect(await runBatch(openai, lines(3))).toMatchObject({ status: 'failed' });
    expect(await runBatch(openai, lines(2))).toMatchObject({ status: 'completed' });
    expect(simulator.enqueuedPeak()).toEqual({ [model]: 50 });
    expect(simulator.enqueued()).toEqual({ [model]: 30 });
  });

  it.each([
    ['completed', []],
    ['expired', ['expires@1']],
    ['cancelled', ['cancels@1']],
    ['failed', []],
  ])('are free again once a batch is %s', async (status, rules) => {
    const { openai, simulator } = await startLimited(30, rules);
    const count = status === 'failed' ? 4 : 3;
    expect(await runBatch(openai, lines(count))).toMatchObject({ status });
    expect(Object.values(simulator.enqueued())).toEqual(status === 'failed' ? [] : [0]);
    expect(await runBatch(openai, lines(3))).toMatchObject({ status: 'completed' });
    expect(await runBatch(openai, lines(1))).toMatchObject({ status: 'completed' });
    expect(simulator.enqueuedPeak()).toEqual({ [model]: 30 });
  });

  it.each(['in_progress', 'finalizing'])(
    'are held while a batch is %s, and while it is cancelled',
    async (state) => {
      const { openai, simulator } = await startLimited(30, [`stuck_${state}@1`]);
      const { id } = await submit(openai, lines(3));
      await until(openai, id, ({ status }) => status === state);
      expect(simulator.enqueued()).toEqual({ [model]: 30 });
      expect(await runBatch(openai, lines(1))).toMatchObject({ status: 'failed' });
      if (state === 'finalizing') return;
      await openai.batches.cancel(id);
      await until(openai, id);
      expect(simulator.enqueued()).toEqual({ [model]: 0 });
      expect(await runBatch(openai, lines(3))).toMatchObject({ status: 'completed' });
    },
  );

  it('are counted when validation is over, and not for a batch that fails it', async () => {
    const { openai, simulator } = await startLimited(30, ['stuck_validating@1']);
    await submit(openai, lines(3));
    expect(await runBatch(openai, [...lines(2), 'nonsense'])).toMatchObject({ status: 'failed' });
    expect(simulator.enqueued()).toEqual({});
    expect(await runBatch(openai, lines(3))).toMatchObject({ status: 'completed' });
  });

  it('are those of each model, an alias and its dated name being one', async () => {
    const { openai, simulator } = await startLimited(30, ['stuck_in_progress@1,2']);
    for (const each of [{}, { model: 'other' }]) {
      const { id } = await submit(openai, lines(3, each));
      await until(openai, id, isRunning);
    }
    expect(simulator.enqueued()).toEqual({ [model]: 30, other: 30 });
    expect(await runBatch(openai, lines(1, { model }))).toMatchObject({ status: 'failed' });
    expect(await runBatch(openai, lines(1, { model: 'third' }))).toMatchObject({ status: 'completed' });
  });

  it('are the input tokens that are paid for, prompt and schema, in both forms', async () => {
    const { openai, simulator } = await start();
    const film = schemas.film!;
    let most = 0;
    for (const [endpoint, line] of [
      ['/v1/chat/completions', chatLine],
      ['/v1/responses', responsesLine],
    ] as const) {
      const batch = await runBatch(openai, [line('a', 'Some film', film), line('b', 'x')], endpoint);
      most = Math.max(most, batch.usage!.input_tokens);
      expect(batch.usage!.input_tokens).toBe(8 + Math.ceil((9 + JSON.stringify(film).length) / 4) + 9);
    }
    expect(simulator.enqueuedPeak()).toEqual({ [model]: most });
  });

  it('count nothing for a request that is refused unread', async () => {
    const { openai, simulator } = await startLimited(10);
    const batch = await runBatch(openai, [...lines(1), chatLine('bad', 'x', undefined, { messages: [] })]);
    expect(batch).toMatchObject({ status: 'completed', request_counts: { completed: 1, failed: 1 } });
    expect(await readResults(openai, batch.error_file_id)).toHaveLength(1);
    expect(simulator.enqueuedPeak()).toEqual({ [model]: 10 });
  });
});
