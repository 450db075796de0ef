import { expect, it } from 'vitest';
import { runHostile } from '../chaos/hostile-run.ts';
import { formatReport } from '../chaos/report.ts';

// `npm run chaos -- --hostile` is the long version, which demands nine tenths of the throughput: a short one is noisy.
it('healthy pipelines go on beside a provider that is hostile to others', { timeout: 300_000 }, async () => {
  const report = await runHostile({
    minutes: 0.4,
    seed: 1,
    keep: false,
    // One of each kind, so that a small machine has time for all; the long version has every one.
    only: [
      ...['download_drips', 'download_bomb', 'line_misplaced', 'absurd_counts', 'retrieve_drips'],
      ...['retrieve_redirect', 'upload_redirect', 'create_same_id', 'list_broken'],
    ],
    rate: 60,
    aloneSeconds: 8,
    leastShare: 0.5,
  });
  expect(report.violations, formatReport(report)).toBe(0);
});
