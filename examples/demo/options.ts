import { parseArgs } from 'node:util';
import { RowmillError } from '../../src/errors.ts';

export const help = `Rowmill's demo: imports a CSV file of films and watches the rows come back enriched.

Usage: npm run demo -- [options]

  --rows <number>      how many films: fewer than the file's 559 takes the first ones, more repeats them
  --exit               leave when all is done: 0, or 1 if a row is not enriched
  --timeout <seconds>  give up after this long (with the simulator 120, or more for many rows; with OpenAI none)
  --yes                do not ask before OpenAI is paid
  --help               this text

Environment:
  DATABASE_URL         the Postgres to use; without it an embedded one starts
  OPENAI_API_KEY       answers come from OpenAI and cost money; without it a simulator answers
  PORT                 where the worker listens (8787, or a free port if that one is taken)
`;

export type Options = {
  /** Undefined: the file as it is. */
  rows: number | undefined;
  timeoutSeconds: number | undefined;
  exit: boolean;
  yes: boolean;
  help: boolean;
};

const flags = {
  rows: { type: 'string' },
  timeout: { type: 'string' },
  exit: { type: 'boolean', default: false },
  yes: { type: 'boolean', short: 'y', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** Takes the command line without node and script; raises RowmillError `usage` for what it does not know. */
export function readOptions(args: string[]): Options {
  const { values } = parse(args);
  return {
    rows: wholeNumber('rows', values.rows, 10_000_000),
    timeoutSeconds: wholeNumber('timeout', values.timeout, 1_000_000),
    exit: values.exit,
    yes: values.yes,
    help: values.help,
  };
}

function parse(args: string[]) {
  try {
    return parseArgs({ args, options: flags });
  } catch (error) {
    // Node's message goes on with advice on positional arguments, of which there are none here.
    const [message] = (error as Error).message.split('. ');
    throw new RowmillError('usage', `${message}\nTry: npm run demo -- --help`);
  }
}

function wholeNumber(flag: string, value: string | undefined, most: number): number | undefined {
  if (value === undefined) return undefined;
  const number = Number(value);
  if (/^\d+$/.test(value) && number >= 1 && number <= most) return number;
  throw new RowmillError(
    'usage',
    `--${flag} takes a whole number from 1 to ${most.toLocaleString('en-US')}, and got '${value}'\nTry: npm run demo -- --help`,
  );
}
