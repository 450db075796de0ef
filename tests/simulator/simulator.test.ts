import { describe, expect, it } from 'vitest';
import { chatLine, runBatch, start, startWith } from './harness.ts';

describe('a simulator in the same process', () => {
  it('lets a judge look at its batches and files, and change neither', async () => {
    const { openai, simulator } = await start();
    const first = await runBatch(openai, [chatLine('a', 'x')]);
    const second = await runBatch(openai, [chatLine('a', 'x'), chatLine('b', 'y')]);
    const { _request_id, ...shown } = second as typeof second & { _request_id?: string };
    expect(simulator.batches()).toMatchObject([{ id: first.id, status: 'completed' }, shown]);
    expect(simulator.files().map(({ id }) => id)).toEqual([
      ...[first.input_file_id, first.output_file_id],
      ...[second.input_file_id, second.output_file_id],
    ]);
    simulator.batches()[0]!.request_counts.completed = 7;
    simulator.files()[0]!.bytes = 7;
    expect(simulator.batches()[0]!.request_counts.completed).toBe(1);
    expect(simulator.files()[0]!.bytes).not.toBe(7);
    await openai.files.delete(first.input_file_id);
    expect(simulator.files()).toHaveLength(3);
  });

  it('answers with the same ledger over HTTP', async () => {
    const { openai, simulator } = await startWith('line_missing');
    await runBatch(openai, [chatLine('a', 'x')]);
    const ledger: unknown = await (await fetch(new URL('/ledger', simulator.url))).json();
    expect(ledger).toEqual(simulator.ledger.summary());
    expect(ledger).toMatchObject({ executed: 1, spoiled: 1, unexplainedRepeats: 0 });
  });
});
