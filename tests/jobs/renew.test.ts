import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { isDatabaseAway } from '../../src/errors.ts';
import { createRenewal } from '../../src/jobs/renew.ts';
import { createMetrics } from '../../src/metrics.ts';
import { createStore } from '../../src/store/store.ts';
import { notingTransport } from '../store/noting-transport.ts';
import { FakeProvider } from '../support/fake-provider.ts';
import { options } from './job-world.ts';

/** The renewal job over a store without a database; `run` is one occasion of it. */
function start(leaseMs: number) {
  const noting = notingTransport(leaseMs);
  const store = createStore(noting.transport, 'w', 'test');
  const renewal = createRenewal({
    store,
    provider: new FakeProvider(),
    logger: pino({ level: 'silent' }),
    metrics: createMetrics(),
  });
  const run = () => renewal(options());
  /** As the schedule does it: once a second. */
  const runFor = async (seconds: number) => {
    for (let second = 0; second < seconds; second += 1) {
      await run();
      await vi.advanceTimersByTimeAsync(1000);
    }
  };
  return { ...noting, store, renewal, run, runFor };
}

describe('the renewal', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it.each([
    ['a lease of 8 s', 8000, 4],
    ['a lease of 20 s', 20_000, 4],
    ['a long lease, every 5 s', 120_000, 24],
  ])(
    'comes four times within a lease at the least, and not more often than it must: %s',
    async (_what, leaseMs, times) => {
      const { runFor, calls } = start(leaseMs);
      await runFor(leaseMs / 1000);
      expect(calls).toHaveLength(times);
      await runFor(leaseMs / 1000);
      expect(calls).toHaveLength(times * 2);
    },
  );

  it('comes at every occasion where a lease is so short that a quarter of it is less than that', async () => {
    const { runFor, calls } = start(3000);
    await runFor(6);
    expect(calls).toHaveLength(6);
  });

  it('does nothing where it is woken in between', async () => {
    const { run, calls } = start(120_000);
    for (let times = 0; times < 10; times += 1) expect(await run()).toEqual({ more: 0 });
    expect(calls).toHaveLength(1);
  });

  it('names what is in hand, and keeps it', async () => {
    const { store, runFor, calls } = start(8000);
    const { hold } = await store.takeLease();
    await runFor(60);
    hold.assertHeld();
    expect(calls.at(-1)).toEqual({
      name: 'renew_leases',
      args: { worker: 'w', version: 'test', leases: ['w/1'] },
    });
  });

  it('does nothing once the signal is aborted', async () => {
    const { renewal, calls } = start(8000);
    expect(await renewal(options({ signal: AbortSignal.abort() }))).toEqual({ more: 0 });
    expect(calls).toEqual([]);
  });

  it('goes by a clock that nobody sets: its time comes although the wall\u2019s clock was set back', async () => {
    const { renewal, calls } = start(60_000);
    vi.setSystemTime('2030-01-01T12:00:00Z');
    await renewal(options());
    await vi.advanceTimersByTimeAsync(20_000);
    vi.setSystemTime('2030-01-01T11:50:20Z');
    await renewal(options());
    expect(calls).toHaveLength(2);
    // ... nor too soon where it was set forward.
    vi.setSystemTime('2031-01-01T12:00:00Z');
    await renewal(options());
    expect(calls).toHaveLength(2);
  });

  it('that fails is made again at the next occasion', async () => {
    const { run, runFor, calls, broken } = start(120_000);
    await runFor(5);
    broken.add('renew_leases');
    await expect(run()).rejects.toThrow('out of order');
    await vi.advanceTimersByTimeAsync(1000);
    broken.clear();
    await run();
    expect(calls).toHaveLength(3);
  });

  it('that gets no answer is given up after 10 s as a database that is away, and the next one is made', async () => {
    const { store, run, calls, before } = start(60_000);
    const { hold } = await store.takeLease();
    calls.length = 0;
    const never = Promise.withResolvers<void>();
    before.renew_leases = () => never.promise;
    const outcome = run().then(
      () => 'answered',
      (error: unknown) => error,
    );
    const onEnd = vi.fn();
    void outcome.then(onEnd);
    await vi.advanceTimersByTimeAsync(9999);
    expect(onEnd).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    expect(isDatabaseAway(await outcome)).toBe(true);

    delete before.renew_leases;
    await vi.advanceTimersByTimeAsync(1000);
    await run();
    expect(calls).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(59_999);
    hold.assertHeld();
    // What the dead connection says in the end is nobody's business.
    never.reject(new Error('the connection broke'));
    await vi.advanceTimersByTimeAsync(1);
    expect(() => hold.assertHeld()).toThrow(expect.objectContaining({ code: 'lease_lost' }));
  });

  it('leaves no timer behind that would keep a process from ending', async () => {
    const { run } = start(60_000);
    await run();
    expect(vi.getTimerCount()).toBe(0);
  });
});
