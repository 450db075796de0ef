import postgres from 'postgres';
import { RowmillError } from '../src/errors.ts';
import { help, readOptions } from './demo/options.ts';
import { runDemo } from './demo/run.ts';
import { createScreen } from './demo/screen.ts';

const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
type Signal = keyof typeof exitCodes;

/** Command line and signals → the demo → exit code. */
async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2));
  if (options.help) {
    process.stdout.write(help);
    return 0;
  }
  const abort = new AbortController();
  let got: Signal | undefined;
  for (const signal of Object.keys(exitCodes) as Signal[]) {
    // Not once: npm passes on a Ctrl-C that the terminal has sent already, and the second would kill.
    process.on(signal, () => {
      if (got) return;
      got = signal;
      setTimeout(() => process.exit(1), 15_000).unref();
      abort.abort();
    });
  }
  try {
    return await runDemo(options, process.env, createScreen(process.stdout), abort.signal);
  } catch (error) {
    if (got) return exitCodes[got];
    throw error;
  }
}

/** What a person can do something about needs no stack; a bug does. */
function explain(error: unknown): string {
  if (error instanceof RowmillError) return error.message;
  if (error instanceof postgres.PostgresError) {
    return [error.message, error.detail, error.hint].filter(Boolean).join('\n');
  }
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`\n${explain(error)}\n`);
    process.exit(1);
  },
);
