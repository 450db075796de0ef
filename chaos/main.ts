import { RowmillError } from '../src/errors.ts';
import { runHostile } from './hostile-run.ts';
import { readOptions, usage } from './options.ts';
import { formatReport } from './report.ts';
import { runChaos } from './run.ts';

/** Command line → run → table → exit code: 1 for any violation, and for a run that could not be made. */
async function main(): Promise<void> {
  const choice = readOptions(process.argv.slice(2));
  if (choice === null) {
    process.stdout.write(`${usage}\n`);
    return;
  }
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () =>
      abort.abort(new RowmillError('interrupted', 'interrupted; nothing is judged')),
    );
  }
  const log = (line: string) => void process.stderr.write(`${line}\n`);
  const progress = { log, signal: abort.signal };
  const report =
    choice.run === 'hostile'
      ? await runHostile(choice.options, progress)
      : await runChaos(choice.options, progress);
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
