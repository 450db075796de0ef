import { expect, it } from 'vitest';
import { runHttpFuzz } from '../../chaos/http/run.ts';
import { formatReport } from '../../chaos/report.ts';
import { createDatabase } from '../support/database.ts';

// `npm run fuzz:http` is the long version.
it('thousands of mutated requests and bodies that never end harm no healthy post', async () => {
  const database = await createDatabase();
  try {
    const options = { requests: 3000, connections: 100, seconds: 6, seed: 1, databaseUrl: database.url };
    const report = await runHttpFuzz(options);
    expect(report.violations, formatReport(report)).toBe(0);
  } finally {
    await database.drop();
  }
});
