import { setTimeout as delay } from 'node:timers/promises';
import type { Transport } from '../store/transport.ts';
import type { Diagnosis } from './diagnosis.ts';
import { lookFromHere, type Surroundings } from './own-checks.ts';

const pauseMs = 250;

/**
 * Takes a way to the database and what is known on this machine; resolves with what `rowmill.doctor()` finds once its
 * posts have come back, or after `patienceMs` without them, and with what only can be seen from here. Changes nothing, and
 * leaves two pings.
 */
export async function diagnose(
  transport: Transport,
  surroundings: Surroundings,
  patienceMs = 15_000,
): Promise<Diagnosis[]> {
  const missing = await transport.missingMigrations();
  const rows = await askTwice(transport, patienceMs).catch((error: unknown) => {
    // An older database has no doctor.
    if (missing.length === 0) throw error;
    return [{ check: 'migrations', verdict: 'ok', found: '', remedy: null }] satisfies Diagnosis[];
  });
  const known = rows.map((row) => (row.check === 'migrations' ? judgeMigrations(row, missing) : row));
  return [...known, ...(await lookFromHere(transport, surroundings))];
}

/** The first call posts; the second judges what came of it. */
async function askTwice(transport: Transport, patienceMs: number): Promise<Diagnosis[]> {
  const first = await transport.rows<Diagnosis>('doctor', {});
  const untilMs = performance.now() + patienceMs;
  let waited = false;
  while (performance.now() < untilMs) {
    const [under] = await transport.rows<{ probes: number }>('probes_under_way', {});
    if (under!.probes === 0) break;
    waited = true;
    await delay(pauseMs);
  }
  return waited ? await transport.rows<Diagnosis>('doctor', {}) : first;
}

function judgeMigrations(row: Diagnosis, missing: string[]): Diagnosis {
  if (missing.length === 0) return row;
  return {
    check: 'migrations',
    verdict: 'fault',
    found: `${missing.length} of this version's are missing, from ${missing[0]} on`,
    remedy: 'npm run migrate',
  };
}
