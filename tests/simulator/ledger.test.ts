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
      spoiled: 0,
      unexplainedRepeats: 1,
    });
  });

  it('does not hold a failed request for a payment', () => {
    const ledger = new Ledger(() => 0);
    ledger.record({ ...entry, customId: 'a', succeeded: false, inputTokens: 0, outputTokens: 0 });
    ledger.record({ ...entry, customId: 'b' });
    expect(ledger).toMatchObject({ executed: 2, failed: 1, repeatedPrompts: 0 });
  });

  it.each([
    ['nothing was lost', 'paid', 0],
    ['a prompt is paid for again, and nothing was lost', 'paid paid paid', 2],
    ['each answer was lost before the next', 'paid lost paid lost paid', 0],
    ['fewer answers were lost than repeated', 'paid lost paid paid paid', 2],
    ['an answer is lost after a repeat', 'paid paid lost', 0],
    ['more answers were lost than repeated', 'paid lost lost', 0],
    ['that happens after more were lost', 'paid lost lost paid paid paid', 1],
  ])('explains repeats of a prompt by its lost answers: %s', (_case, story, unexplained) => {
    const ledger = new Ledger(() => 0);
    // Another prompt's losses explain nothing.
    ledger.record({ ...entry, customId: 'other', promptDigest: 2 });
    ledger.spoil(2);
    const steps = story.split(' ');
    for (const step of steps) {
      if (step === 'paid') ledger.record({ ...entry, customId: 'a' });
      else ledger.spoil(entry.promptDigest);
    }
    expect(ledger.summary()).toMatchObject({
      spoiled: 1 + steps.filter((step) => step === 'lost').length,
      unexplainedRepeats: unexplained,
    });
  });
});
