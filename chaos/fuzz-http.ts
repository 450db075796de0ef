import { RowmillError } from '../src/errors.ts';
import { fuzzUsage, readFuzzOptions } from './http/options.ts';
import { runHttpFuzz } from './http/run.ts';
import { formatReport } from './report.ts';

/** Command line → run → table → exit code: 1 for any violation, and for a run that could not be made. */
async function main(): Promise<void> {
  const options = readFuzzOptions(process.argv.slice(2));
  if (options === null) {
    process.stdout.write(`${fuzzUsage}\n`);
    return;
  }
  const report = await runHttpFuzz(options, (line) => void process.stderr.write(`${line}\n`));
  process.stdout.write(`${formatReport(report)}\n`);
  if (report.violations > 0) process.exitCode = 1;
}

main().catch((error: unknown) => {
  // What a person did wrong needs no stack; a bug does.
  const told =
    error instanceof RowmillError ? error.message : error instanceof Error ? error.stack : String(error);
  process.stderr.write(`${told}\n`);
  process.exitCode = 1;
});
