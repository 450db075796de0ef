import type { Transport } from '../../src/store/transport.ts';

export type Call = { name: string; args: Record<string, unknown> };

/** A transport without a database that notes what is called, and fails where the test says so. */
export function notingTransport(leaseMs = 120_000) {
  const calls: Call[] = [];
  const broken = new Set<string>();
  /** Called before a call is answered: what it waits for, the answer waits for. */
  const before: Record<string, (() => Promise<void>) | undefined> = {};
  const call = async (name: string, args: Record<string, unknown>) => {
    calls.push({ name, args });
    await before[name]?.();
    if (broken.has(name)) throw new Error(`${name} is out of order`);
  };
  const transport: Transport = {
    maxRows: Number.POSITIVE_INFINITY,
    rows: async <Row>(name: string, args: Record<string, unknown>) => {
      await call(name, args);
      const renewed = (args.leases as string[] | undefined)?.length ?? 0;
      return (name === 'renew_leases' ? [{ lease_ms: leaseMs, renewed }] : []) as Row[];
    },
    value: async <Value>(name: string, args: Record<string, unknown>) => {
      await call(name, args);
      return true as Value;
    },
    missingMigrations: async () => [],
    writability: async () => null,
    databaseEncoding: async () => 'UTF8',
    close: async () => {},
  };
  return { transport, calls, broken, before };
}
