import { describe, expect, it } from 'vitest';
import { createStore } from '../../src/store/store.ts';
import { notingTransport } from './noting-transport.ts';

describe('what a lease gives back', () => {
  it('is given back under its name, with what went wrong', async () => {
    const { transport, calls } = notingTransport();
    const store = createStore(transport, 'w', 'test');
    const lease = await store.takeLease();
    calls.length = 0;
    expect(await lease.releaseChunk(1)).toBe(true);
    expect(await lease.letGoOfBatch(2, 'a problem')).toBe(true);
    expect(calls).toEqual([
      { name: 'release_chunk', args: { chunk_id: 1, worker: 'w/1' } },
      { name: 'let_go_of_batch', args: { batch_id: 2, worker: 'w/1', problem: 'a problem' } },
    ]);
  });

  it('and cannot give back runs out: it never rejects, and nothing is owed', async () => {
    const { transport, calls, broken } = notingTransport();
    const store = createStore(transport, 'w', 'test');
    const lease = await store.takeLease();
    broken.add('release_chunk').add('let_go_of_batch');
    expect(await lease.releaseChunk(1)).toBe(false);
    expect(await lease.letGoOfBatch(2, null)).toBe(false);
    lease.hold.end();
    broken.clear();
    calls.length = 0;
    await store.renewLeases();
    expect(calls).toEqual([{ name: 'renew_leases', args: { worker: 'w', version: 'test', leases: [] } }]);
  });

  it('keeps no other lease from being renewed', async () => {
    const { transport, calls, broken } = notingTransport();
    const store = createStore(transport, 'w', 'test');
    const [failed, held] = [await store.takeLease(), await store.takeLease()];
    broken.add('release_chunk');
    await failed.releaseChunk(1);
    failed.hold.end();
    calls.length = 0;
    await store.renewLeases();
    expect(calls).toMatchObject([{ name: 'renew_leases', args: { leases: [held.hold.id] } }]);
  });
});
