import { parseArgs } from 'node:util';
import { RowmillError } from '../../src/errors.ts';

export type FuzzOptions = {
  /** Mutated requests to send, if the time suffices. */
  requests: number;
  /** Half of them belong to strangers who never end a body. */
  connections: number;
  /** The most that the sending takes. */
  seconds: number;
  seed: number;
  /** A database that Rowmill is migrated into; null: a Postgres of its own. */
  databaseUrl: string | null;
};

export const fuzzUsage = `usage: npm run fuzz:http [-- options]
  --requests N     mutated requests to send (20000)
  --connections N  connections at once; half of them send bodies that they never end (100)
  --seconds N      the most that the sending takes (120)
  --seed N         what is sent; its timing stays the machine's (1)`;

/** Reads the command line; null where help is asked for. Raises RowmillError `usage` for what does not fit. */
export function readFuzzOptions(args: string[]): FuzzOptions | null {
  const { values } = parse(args);
  if (values.help) return null;
  return {
    requests: wholeNumber('requests', values.requests, 1, 10_000_000),
    connections: wholeNumber('connections', values.connections, 2, 390),
    seconds: wholeNumber('seconds', values.seconds, 1, 86_400),
    databaseUrl: null,
    seed: wholeNumber('seed', values.seed, 0, 4_294_967_295),
  };
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        requests: { type: 'string', default: '20000' },
        connections: { type: 'string', default: '100' },
        seconds: { type: 'string', default: '120' },
        seed: { type: 'string', default: '1' },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (cause) {
    throw new RowmillError('usage', `${(cause as Error).message}\n${fuzzUsage}`, { cause });
  }
}

function wholeNumber(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= most) return value;
  throw new RowmillError(
    'usage',
    `--${name} expects a whole number from ${least} to ${most}, came ${JSON.stringify(text)}`,
  );
}
