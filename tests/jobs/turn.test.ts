import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Turn } from '../../src/jobs/turn.ts';

describe('a batch that is read', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });
  const limits = { turnMs: 1000, maxIdleBytes: 100 };

  it('is at the front for its time, and to the end of a slice', () => {
    const turn = new Turn(limits);
    turn.progressed();
    expect(turn.isOver).toBe(false);
    vi.advanceTimersByTime(1001);
    expect(turn.isOver).toBe(true);
    const idle = new Turn(limits);
    vi.advanceTimersByTime(1001);
    // Nothing would be gained by another turn that begins at the same place.
    expect(idle.isOver).toBe(false);
  });

  it('is given up after so many bytes without a line, counted from its last', () => {
    const turn = new Turn(limits);
    turn.received(60, 'file-1');
    turn.progressed();
    turn.received(100, 'file-1');
    expect(() => turn.received(1, 'file-1')).toThrow(
      expect.objectContaining({
        code: 'no_results',
        message: 'Expected lines of results in file-1; 101 bytes came without one.',
      }),
    );
  });

  it('is read again where a line takes too long to come, by the time since its first byte', () => {
    const turn = new Turn(limits);
    vi.advanceTimersByTime(5000);
    turn.received(1, 'file-1');
    vi.advanceTimersByTime(999);
    turn.received(1, 'file-1');
    vi.advanceTimersByTime(2);
    expect(() => turn.received(1, 'file-1')).toThrow(expect.objectContaining({ code: 'results_late' }));
  });
});
