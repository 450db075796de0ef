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

export type HostileOptions = {
  /** How long the hostile pipelines run beside the healthy ones. */
  minutes: number;
  seed: number;
  keep: boolean;
  /** Hostile pipelines by name; null: all of them. */
  only: string[] | null;
};

export type Choice = { run: 'kills'; options: ChaosOptions } | { run: 'hostile'; options: HostileOptions };

export const usage = `usage: npm run chaos [-- options]
  --rows N      rows to import (20000)
  --workers N   worker processes (4)
  --kills N     processes killed or stopped while rows come in and answers come back (200)
  --seed N      what is written, killed and broken, and when; timing stays the machine's (1)
  --no-faults   a provider that never misbehaves
  --only KIND   kills of one kind alone: ${onlyChoices.join(', ')}
  --keep        leave the temporary directory, with all logs, and say where it is
or: npm run chaos -- --hostile [options]
  nothing is killed: healthy pipelines run alone, and then beside others whose batches the provider answers in hostile ways
  --minutes N   how long beside the others (10)
  --only NAMES  hostile ways alone whose names hold one of these, such as download,line_foreign
  --seed N, --keep`;

/** Reads the command line; null where help is asked for. Raises RowmillError `usage` for what does not fit. */
export function readOptions(args: string[]): Choice | null {
  const { values } = parse(args);
  if (values.help) return null;
  const both = { seed: wholeNumber('seed', values.seed ?? '1', 0, 4_294_967_295), keep: values.keep };
  if (values.hostile) {
    refuse(values, ['rows', 'workers', 'kills', 'no-faults'], '--hostile');
    return {
      run: 'hostile',
      options: {
        ...both,
        minutes: wholeNumber('minutes', values.minutes ?? '10', 1, 10_000),
        only: values.only?.split(',') ?? null,
      },
    };
  }
  refuse(values, ['minutes'], 'a run without --hostile');
  const options = {
    ...both,
    rows: wholeNumber('rows', values.rows ?? '20000', 1, 1_000_000),
    workers: wholeNumber('workers', values.workers ?? '4', 1, 50),
    kills: wholeNumber('kills', values.kills ?? '200', 0, 100_000),
    faults: !values['no-faults'],
    only: readOnly(values.only),
  };
  return { run: 'kills', options };
}

function refuse(values: Record<string, unknown>, names: string[], what: string): void {
  const given = names.find((name) => values[name] !== undefined);
  if (given !== undefined) throw new RowmillError('usage', `${what} takes no --${given}\n${usage}`);
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        rows: { type: 'string' },
        workers: { type: 'string' },
        kills: { type: 'string' },
        seed: { type: 'string' },
        'no-faults': { type: 'boolean' },
        hostile: { type: 'boolean', default: false },
        minutes: { type: 'string' },
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
