import type { FaultName, FaultRule } from '../src/simulator/fault-rules.ts';

/** A way of being hostile, and the pipeline that it is tried on. */
export type Mode = {
  pipeline: string;
  rules: FaultRule[];
  /** Whether answers that it spoils may reach a row with a replacement character in the place of what was no text. */
  isSpoilt: boolean;
};

// In the list such a batch would be seen as it is, and nobody would ask for it by its id.
const unlisted: FaultRule = { fault: 'list_lags', ms: 2_000_000_000 };
// Its intent has to be looked up.
const lost: FaultRule = { fault: 'create_lost', probability: 0.5 };

const retrieved = ['retrieve_drips', 'retrieve_bomb', 'retrieve_huge', 'retrieve_not_utf8'] as const;
const plain = [
  'download_drips',
  'download_bomb',
  'download_long_line',
  'download_nested',
  'download_blanks',
  'download_foreign',
  'download_not_utf8',
  'line_foreign',
  'line_misplaced',
  'line_doubled',
  'line_absurd_usage',
  'request_absurd',
  'absurd_counts',
  'absurd_errors',
  'create_same_id',
] as const;

/** One mode for each kind; redirects lead to the address. */
export function hostileModes(elsewhere: string): Mode[] {
  const redirected: FaultRule[] = [
    { fault: 'retrieve_redirect', to: `${elsewhere}/batch` },
    { fault: 'download_redirect', to: `${elsewhere}/content` },
  ];
  return [
    ...plain.map((fault) => modeOf(fault, [{ fault }])),
    ...retrieved.map((fault) => modeOf(fault, [{ fault }, unlisted])),
    ...redirected.map((rule) =>
      modeOf(rule.fault, rule.fault.startsWith('retrieve') ? [rule, unlisted] : [rule]),
    ),
    // Before there is a batch, its rows tell whose they are.
    modeOf('upload_redirect', [
      { fault: 'upload_redirect', to: `${elsewhere}/upload`, prompt: `${nameOf('upload_redirect')} ` },
    ]),
    modeOf('list_endless', [{ fault: 'list_endless', route: 'list', probability: 0.25 }, lost]),
    modeOf('list_broken', [{ fault: 'list_broken', probability: 0.5 }, lost]),
    // Neither listed nor answered: given up after a while, and searched for among the files as well.
    {
      ...modeOf('list_endless', [
        { fault: 'list_endless', route: 'list_files' },
        { ...lost, probability: 1 },
        unlisted,
      ]),
      pipeline: 'h_files_endless',
    },
  ].map((mode) => ({ ...mode, rules: mode.rules.map((rule) => ofPipeline(rule, mode.pipeline)) }));
}

function nameOf(fault: FaultName): string {
  return `h_${fault}`;
}

function modeOf(fault: FaultName, rules: FaultRule[]): Mode {
  return { pipeline: nameOf(fault), rules, isSpoilt: fault === 'download_not_utf8' };
}

function ofPipeline(rule: FaultRule, pipeline: string): FaultRule {
  return rule.fault === 'upload_redirect' ? rule : { ...rule, pipeline };
}
