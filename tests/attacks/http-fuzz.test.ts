import { expect, it } from 'vitest';
import { runHttpFuzz } from '../../chaos/http/run.ts';
import { formatReport } from '../../chaos/report.ts';

// `npm run fuzz:http` is the long version.
it('thousands of mutated requests and bodies that never end harm no healthy post', async () => {
  const report = await runHttpFuzz({ requests: 4000, connections: 60, seconds: 8, seed: 1 });
  expect(report.violations, formatReport(report)).toBe(0);
});
