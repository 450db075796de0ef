import { expect, it } from 'vitest';
import { formatReport } from '../chaos/report.ts';
import { runChaos } from '../chaos/run.ts';

// `npm run chaos` is the long version.
it('20 kills during an import lose no row and pay for nothing twice', { timeout: 240_000 }, async () => {
  const report = await runChaos({
    rows: 2000,
    workers: 2,
    kills: 20,
    seed: 1,
    faults: true,
    only: null,
    keep: false,
  });
  expect(report.violations, formatReport(report)).toBe(0);
});
