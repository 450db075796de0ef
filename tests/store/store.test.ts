import { describe, expect, it } from 'vitest';
import { createStore } from '../../src/store/store.ts';
import type { Transport } from '../../src/store/transport.ts';

/** A transport that notes what is called, and fails where the test says so. */
function startStore() {
  const calls: string[] = [];
  const broken = new Set<string>();
  const call = async (name: string, args: Record<string, unknown>) => {
    calls.push(`${name} ${args.chunk_id ?? args.batch_id ?? ''}`.trim());
    if (broken.has(name)) throw new Error(`${name} is out of order`);
    return 1;
  };
  const transport: Transport = {
    rows: async (name, args) => {
      await call(name, args);
      return [];
    },
    value: async <Value>(name: string, args: Record<string, unknown>) => (await call(name, args)) as Value,
    missingMigrations: async () => [],
    close: async () => {},
  };
  return { store: createStore(transport, 'w'), calls, broken };
}

describe('the leases of a store', () => {
  it('are renewed, and nothing else happens, where nothing is owed', async () => {
    const { store, calls } = startStore();
    await store.releaseChunk(1);
    await store.letGoOfBatch(2, 'a problem');
    await store.renewLeases('test');
    expect(calls).toEqual(['release_chunk 1', 'let_go_of_batch 2', 'renew_leases']);
  });

  it('that could not be given back are given back before any is renewed', async () => {
    const { store, calls, broken } = startStore();
    broken.add('release_chunk').add('let_go_of_batch');
    expect(await store.releaseChunk(1)).toBe(false);
    expect(await store.letGoOfBatch(2, null)).toBe(false);
    broken.clear();
    calls.length = 0;
    await store.renewLeases('test');
    expect(calls).toEqual(['release_chunk 1', 'let_go_of_batch 2', 'renew_leases']);
    calls.length = 0;
    await store.renewLeases('test');
    expect(calls).toEqual(['renew_leases']);
  });

  it('are not renewed as long as one cannot be given back', async () => {
    const { store, calls, broken } = startStore();
    broken.add('release_chunk');
    await store.releaseChunk(1);
    await expect(store.renewLeases('test')).rejects.toThrow('out of order');
    await expect(store.renewLeases('test')).rejects.toThrow('out of order');
    expect(calls).not.toContain('renew_leases');
  });
});
