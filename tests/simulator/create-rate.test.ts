import { describe, expect, it } from 'vitest';
import { CreateRate } from '../../src/simulator/create-rate.ts';
import { chatLine, jsonl, start, submit, until, upload } from './harness.ts';

describe('batches an hour', () => {
  it('are refused beyond the limit, and nothing is done', async () => {
    const { openai, simulator } = await start({ batchesPerHour: 2 });
    const batches = [await submit(openai, [chatLine('a', 'x')]), await submit(openai, [chatLine('b', 'y')])];
    const inputFileId = await upload(openai, jsonl([chatLine('c', 'z')]));
    const params = { endpoint: '/v1/chat/completions', completion_window: '24h' } as const;
    for (const _ of [1, 2]) {
      await expect(openai.batches.create({ ...params, input_file_id: inputFileId })).rejects.toMatchObject({
        status: 429,
        code: 'rate_limit_exceeded',
        type: 'requests',
      });
    }
    for (const { id } of batches) expect(await until(openai, id)).toMatchObject({ status: 'completed' });
    expect(simulator.batches().map(({ id }) => id)).toEqual(batches.map(({ id }) => id));
    expect(simulator.ledger).toMatchObject({ batchesCreated: 2, executed: 2 });
  });

  it('do not count creates that were refused for their parameters', async () => {
    const { openai } = await start({ batchesPerHour: 1 });
    const wrong = { input_file_id: 'file-x', endpoint: '/v1/wrong', completion_window: '24h' };
    await expect(openai.batches.create(wrong as never)).rejects.toMatchObject({ status: 400 });
    expect(await submit(openai, [chatLine('a', 'x')])).toMatchObject({ status: 'validating' });
  });

  it('are counted over any hour, those that were refused left out', () => {
    let now = 0;
    const rate = new CreateRate(2, () => now);
    const isTaken = (at: number) => {
      now = at;
      try {
        rate.take();
        return true;
      } catch {
        return false;
      }
    };
    const [half, whole] = [1_800_000, 3_600_000];
    expect([0, half, half, whole - 1].map(isTaken)).toEqual([true, true, false, false]);
    expect([whole, whole, whole + half - 1].map(isTaken)).toEqual([true, false, false]);
    expect([whole + half, whole + half].map(isTaken)).toEqual([true, false]);
  });

  it('are without a limit where none is given', async () => {
    const { openai, simulator } = await start();
    for (let i = 0; i < 20; i++) await submit(openai, [chatLine('a', `${i}`)]);
    expect(simulator.ledger.batchesCreated).toBe(20);
  });
});
