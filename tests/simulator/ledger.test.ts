import { describe, expect, it } from 'vitest';
import { Ledger } from '../../src/simulator/ledger.ts';

const entry = { promptDigest: 1, succeeded: true, inputTokens: 2, outputTokens: 3 };

describe('the ledger', () => {
  it('counts each custom_id apart, over hundreds of thousands', () => {
    const ledger = new Ledger(() => 4);
    for (let i = 0; i < 300_000; i++) ledger.record({ ...entry, customId: `c${i}`, promptDigest: i });
    ledger.record({ ...entry, customId: 'c5', promptDigest: 5 });
    expect(ledger.timesExecuted('c5')).toBe(2);
    expect(ledger.timesExecuted('c299999')).toBe(1);
    expect(ledger.timesExecuted('c300000')).toBe(0);
    expect(ledger.summary()).toEqual({
      executed: 300_001,
      failed: 0,
      repeatedPrompts: 1,
      repeatedCustomIds: 1,
      batchesCreated: 0,
      filesHeld: 4,
      inputTokens: 600_002,
      outputTokens: 900_003,
    });
  });

  it('does not hold a failed request for a payment', () => {
    const ledger = new Ledger(() => 0);
    ledger.record({ ...entry, customId: 'a', succeeded: false, inputTokens: 0, outputTokens: 0 });
    ledger.record({ ...entry, customId: 'b' });
    expect(ledger).toMatchObject({ executed: 2, failed: 1, repeatedPrompts: 0 });
  });
});
