import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createStore, type Lease } from '../../src/store/store.ts';
import { makeIntent } from '../support/make-intent.ts';
import { notingTransport } from './noting-transport.ts';

const leaseMs = 120_000;

function start(worker = 'w') {
  const noting = notingTransport(leaseMs);
  const store = createStore(noting.transport, worker, 'test');
  /** The leases that each renewal so far has named. */
  const renewals = () =>
    noting.calls.filter(({ name }) => name === 'renew_leases').map(({ args }) => args.leases);
  return { ...noting, store, renewals };
}

/** Has the next renewal wait; returns what lets it go on. */
function holdUp(before: ReturnType<typeof notingTransport>['before']): () => void {
  const gate = Promise.withResolvers<void>();
  before.renew_leases = () => {
    delete before.renew_leases;
    return gate.promise;
  };
  return gate.resolve;
}

const lost = expect.objectContaining({ code: 'lease_lost' });
function expectLost({ hold }: Lease): void {
  expect(() => hold.assertHeld()).toThrow(lost);
  expect(hold.signal.aborted).toBe(true);
  expect(hold.signal.reason).toMatchObject({ code: 'lease_lost', fields: { lease: hold.id } });
}

describe('a lease', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('has a name that no other has, of this worker or another, ended or not', async () => {
    const names = new Set<string>();
    for (const { store } of [start('host-1'), start('host-2'), start('host-11')]) {
      for (let times = 0; times < 20; times += 1) {
        const { hold } = await store.takeLease();
        names.add(hold.id);
        if (times % 2 === 0) hold.end();
      }
    }
    expect(names.size).toBe(60);
    expect(names).toContain('host-1/1');
  });

  it('asks how long it lasts before the first is taken, and not again', async () => {
    const { store, renewals } = start();
    expect(store.leaseMs()).toBeNull();
    const { hold } = await store.takeLease();
    expect(renewals()).toEqual([[]]);
    expect(hold.durationMs).toBe(leaseMs);
    expect(store.leaseMs()).toBe(leaseMs);
    await store.takeLease();
    expect(renewals()).toHaveLength(1);
  });

  it('cannot be taken where nobody can say how long it lasts', async () => {
    const { store, broken } = start();
    broken.add('renew_leases');
    await expect(store.takeLease()).rejects.toThrow('out of order');
    expect(store.leaseMs()).toBeNull();
  });

  it('is held until its time is over, and not a moment longer', async () => {
    const lease = await start().store.takeLease();
    await vi.advanceTimersByTimeAsync(leaseMs - 1);
    lease.hold.assertHeld();
    expect(lease.hold.signal.aborted).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expectLost(lease);
  });

  it('ends by the clock although no timer fired', async () => {
    vi.useRealTimers();
    // Time passes, and timers know nothing of it: the process was asleep.
    vi.useFakeTimers({ toFake: ['performance'] });
    const { store, renewals } = start();
    const lease = await store.takeLease();
    vi.advanceTimersByTime(leaseMs - 1);
    lease.hold.assertHeld();
    vi.advanceTimersByTime(1);
    expect(lease.hold.signal.aborted).toBe(false);
    expectLost(lease);
    await store.renewLeases();
    expect(renewals().at(-1)).toEqual([]);
  });

  it('ends by the clock for a renewal as well, which then does not revive it', async () => {
    vi.useRealTimers();
    vi.useFakeTimers({ toFake: ['performance'] });
    const { store, renewals } = start();
    const lease = await store.takeLease();
    vi.advanceTimersByTime(leaseMs);
    await store.renewLeases();
    // Nobody had noticed when the call was sent; its answer is too late all the same.
    expect(renewals().at(-1)).toEqual([lease.hold.id]);
    expectLost(lease);
  });

  it('ends by the wall clock where the steady one stood still: the machine was suspended', async () => {
    vi.useRealTimers();
    vi.useFakeTimers({ toFake: ['Date'] });
    const { store } = start();
    const lease = await store.takeLease();
    vi.setSystemTime(Date.now() + leaseMs - 1000);
    lease.hold.assertHeld();
    vi.setSystemTime(Date.now() + 1000);
    expectLost(lease);
  });

  it('is not made longer by a wall clock that is set back', async () => {
    const { store } = start();
    const lease = await store.takeLease();
    vi.setSystemTime(Date.now() - leaseMs);
    await vi.advanceTimersByTimeAsync(leaseMs);
    expectLost(lease);
  });

  it('aborts its signal when its time is over, whoever asks', async () => {
    const { hold } = await start().store.takeLease();
    const onAbort = vi.fn();
    hold.signal.addEventListener('abort', onAbort);
    await vi.advanceTimersByTimeAsync(leaseMs);
    expect(onAbort).toHaveBeenCalledOnce();
  });

  it('keeps its time from one renewal to the next', async () => {
    const { store, renewals } = start();
    const lease = await store.takeLease();
    for (let times = 0; times < 5; times += 1) {
      await vi.advanceTimersByTimeAsync(leaseMs - 1);
      expect(await store.renewLeases()).toBe(1);
      lease.hold.assertHeld();
    }
    expect(renewals().slice(1)).toEqual(Array(5).fill(['w/1']));
    await vi.advanceTimersByTimeAsync(leaseMs);
    expectLost(lease);
  });

  it('counts from before the renewal was sent, however long its answer takes', async () => {
    const { store, before } = start();
    const lease = await store.takeLease();
    await vi.advanceTimersByTimeAsync(50_000);
    const goOn = holdUp(before);
    const renewal = store.renewLeases();
    await vi.advanceTimersByTimeAsync(60_000);
    goOn();
    await renewal;
    await vi.advanceTimersByTimeAsync(leaseMs - 60_000 - 1);
    lease.hold.assertHeld();
    await vi.advanceTimersByTimeAsync(1);
    expectLost(lease);
  });

  it('is not revived by a renewal that is answered too late', async () => {
    const { store, before, renewals } = start();
    const lease = await store.takeLease();
    await vi.advanceTimersByTimeAsync(leaseMs - 1);
    const goOn = holdUp(before);
    const renewal = store.renewLeases();
    await vi.advanceTimersByTimeAsync(1);
    expectLost(lease);
    goOn();
    await renewal;
    expectLost(lease);
    await store.renewLeases();
    expect(renewals().slice(-2)).toEqual([['w/1'], []]);
  });

  it('is not renewed by a call that had been sent before it was taken', async () => {
    const { store, before } = start();
    await store.renewLeases();
    const goOn = holdUp(before);
    const renewal = store.renewLeases();
    await vi.advanceTimersByTimeAsync(10_000);
    const lease = await store.takeLease();
    await vi.advanceTimersByTimeAsync(60_000);
    goOn();
    await renewal;
    await vi.advanceTimersByTimeAsync(59_999);
    lease.hold.assertHeld();
    await vi.advanceTimersByTimeAsync(1);
    expectLost(lease);
  });

  it('is neither lost nor renewed by a renewal that fails', async () => {
    const { store, broken } = start();
    const lease = await store.takeLease();
    await vi.advanceTimersByTimeAsync(100_000);
    broken.add('renew_leases');
    await expect(store.renewLeases()).rejects.toThrow('out of order');
    lease.hold.assertHeld();
    await vi.advanceTimersByTimeAsync(20_000);
    expectLost(lease);
  });

  it('takes over a new length with its next renewal', async () => {
    const { transport, store } = start();
    const lease = await store.takeLease();
    transport.rows = async <Row>() => [{ lease_ms: 10_000, renewed: 1 }] as Row[];
    await store.renewLeases();
    expect(lease.hold.durationMs).toBe(10_000);
    expect(store.leaseMs()).toBe(10_000);
    await vi.advanceTimersByTimeAsync(10_000);
    expectLost(lease);
  });

  it('is not renewed once it has ended, and its signal is left alone', async () => {
    const { store, renewals } = start();
    const [first, second] = [await store.takeLease(), await store.takeLease()];
    first.hold.end();
    first.hold.end();
    await store.renewLeases();
    expect(renewals().at(-1)).toEqual([second.hold.id]);
    await vi.advanceTimersByTimeAsync(leaseMs * 2);
    expect(first.hold.signal.aborted).toBe(false);
  });

  it('that ran out takes no other with it', async () => {
    const { store, renewals } = start();
    const early = await store.takeLease();
    await vi.advanceTimersByTimeAsync(60_000);
    const late = await store.takeLease();
    await vi.advanceTimersByTimeAsync(60_000);
    expectLost(early);
    late.hold.assertHeld();
    await store.renewLeases();
    expect(renewals().at(-1)).toEqual([late.hold.id]);
  });

  it('keeps no process from ending', async () => {
    vi.useRealTimers();
    const unref = vi.spyOn(setTimeout(() => {}, 0).constructor.prototype, 'unref');
    const { hold } = await start().store.takeLease();
    expect(unref).toHaveBeenCalledOnce();
    hold.end();
    unref.mockRestore();
  });

  it('makes its calls under its name', async () => {
    const { store, calls } = start();
    await store.takeLease();
    const lease = await store.takeLease();
    calls.length = 0;
    const verdict = { class: 'missing', code: null, message: 'm', retried: true, counted: true } as const;
    await lease.claimWork(1);
    await lease.holdRows(1, []);
    await lease.refuseRows(1, []);
    await lease.closeChunk(1);
    await lease.releaseChunk(1);
    await lease.holdBackChunks('tokens', 'no room', []);
    await lease.beginBatch(makeIntent([1]));
    await lease.noteInputFile(1, 'file');
    await lease.claimStaleIntents(1);
    await lease.letGoOfBatch(1, null);
    await lease.abandonBatch(1, 'problem', false, null);
    await lease.rejectBatch(1, verdict, false);
    await lease.claimSweeps(1);
    await lease.finishSweep(1, 0);
    await lease.claimEndedBatches(1);
    await lease.noteGoneFile(1);
    await lease.finishHarvest(1, verdict, false);
    await lease.finishBatch(1);
    expect(calls).toHaveLength(18);
    for (const { name, args } of calls) expect(args.worker, name).toBe('w/2');
  });
});
