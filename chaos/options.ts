import { parseArgs } from 'node:util';
import { RowmillError } from '../src/errors.ts';

const onlyChoices = ['workers', 'postgres', 'pauses'] as const;

export type ChaosOptions = {
  rows: number;
  workers: number;
  kills: number;
  seed: number;
  /** Whether the provider misbehaves as well. */
  faults: boolean;
  /** Restricts the kinds of kills; null: all of them. */
  only: (typeof onlyChoices)[number] | null;
  /** Leaves the temporary directory behind: logs, data, events. */
  keep: boolean;
};

export const usage = `usage: npm run chaos [-- options]
  --rows N      rows to import (20000)
  --workers N   worker processes (4)
  --kills N     processes killed or stopped while rows come in and answers come back (200)
  --seed N      what is written, killed and broken, and when; timing stays the machine's (1)
  --no-faults   a provider that never misbehaves
  --only KIND   kills of one kind alone: ${onlyChoices.join(', ')}
  --keep        leave the temporary directory, with all logs, and say where it is`;

/** Reads the command line; null where help is asked for. Raises RowmillError `usage` for what does not fit. */
export function readOptions(args: string[]): ChaosOptions | null {
  const { values } = parse(args);
  if (values.help) return null;
  return {
    rows: wholeNumber('rows', values.rows, 1, 1_000_000),
    workers: wholeNumber('workers', values.workers, 1, 50),
    kills: wholeNumber('kills', values.kills, 0, 100_000),
    seed: wholeNumber('seed', values.seed, 0, 4_294_967_295),
    faults: !values['no-faults'],
    only: readOnly(values.only),
    keep: values.keep,
  };
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        rows: { type: 'string', default: '20000' },
        workers: { type: 'string', default: '4' },
        kills: { type: 'string', default: '200' },
        seed: { type: 'string', default: '1' },
        'no-faults': { type: 'boolean', default: false },
        only: { type: 'string' },
        keep: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (cause) {
    throw new RowmillError('usage', `${(cause as Error).message}\n${usage}`, { cause });
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

function readOnly(text: string | undefined): ChaosOptions['only'] {
  if (text === undefined) return null;
  const found = onlyChoices.find((choice) => choice === text);
  if (found) return found;
  throw new RowmillError(
    'usage',
    `--only expects one of ${onlyChoices.join(', ')}, came ${JSON.stringify(text)}`,
  );
}
