import {
  describeFault,
  type FaultName,
  type FaultSubject,
  faultNames,
  usualShare,
  usualStatuses,
} from './fault-names.ts';
import { grammar } from './fault-rules.ts';
import { requestCodes } from './request-errors.ts';
import { routeNames } from './route-names.ts';
import { validationCodes } from './validation-forms.ts';

// One section for each subject, in the order of the list; what is counted stands behind it.
const sections: Record<FaultSubject, string> = {
  request: 'Requests (counted: requests of the route, or of any route)',
  upload: 'Uploads (counted: uploads, or those whose first request holds the prompt)',
  list: 'Lists of batches and files (counted: lists, as their first page is asked for)',
  retrieval: 'Retrieving batches (counted: retrievals, apart from those of batches it has struck)',
  download: 'Downloads (counted: downloads)',
  batch: 'Batches (counted: batches, in the order of their creation)',
  hostile: 'Hostile answers about batches (counted: batches, in the order of their creation)',
  execution: 'Requests of a batch (counted: requests, as they are executed)',
  line: 'Lines of output and error files (counted: lines, as they are answered; they never stand in that order)',
};

/** The help on faults: how a rule is written, and every fault there is. */
export function faultHelp(): string {
  const width = Math.max(...faultNames.map((name) => name.length));
  const list = Object.entries(sections).map(([subject, title]) => {
    const names = faultNames.filter((name) => describeFault(name).subject === subject);
    const lines = names.map((name) => `  ${name.padEnd(width)}  ${describeFault(name).help}${usual(name)}`);
    return `${title}:\n${lines.join('\n')}\n`;
  });
  return `A fault is written
  ${grammar}
and strikes with a probability at each occasion, or at the occasions that are listed (from 1), or at all of them:
http_500:create=0.05, reset_after:create@1,3, stuck_validating@2;ms=5000, request_fails=0.1;code=insufficient_quota.
Faults of requests of a batch, and fails_validation, take a prompt: they strike, and count, only where the user's text
holds it to the letter, spaces and all, but for a semicolon: answer_refused@1;prompt=film 7 , fails_validation;prompt=x.
All faults but those of requests and uploads take a pipeline: they strike, and count, only batches that have it as
rowmill_pipeline in their metadata (those of lists: any, once there was one): download_drips@2;pipeline=films.
Keys: ms, mb, to (an address), code, status, share, line, prompt, pipeline.

${list.join('\n')}
Routes: ${routeNames.join(', ')}.
Codes of fails_validation, which may name a line:${wrapped(validationCodes)}.
Codes of request_fails, each with its status, and any other (with 400):${wrapped(requestCodes)}.
`;
}

function usual(fault: FaultName): string {
  const { ms, mb, takes } = describeFault(fault);
  if (mb !== undefined) return ` (mb: ${mb})`;
  if (ms !== undefined) return ` (ms: ${Number.isFinite(ms) ? ms : 'for ever'})`;
  if (takes?.includes('share')) return ` (share: ${usualShare})`;
  if (takes?.includes('status')) return ` (status: ${usualStatuses.join(', ')}, by turns)`;
  return takes?.includes('code') ? ' (code: all, by turns)' : '';
}

function wrapped(words: string[]): string {
  let line = '';
  const lines: string[] = [];
  for (const word of words) {
    if (line.length + word.length > 90) lines.push(line);
    line = line.length + word.length > 90 ? `${word}, ` : `${line}${word}, `;
  }
  return `\n  ${[...lines, line.slice(0, -2)].map((each) => each.trimEnd()).join('\n  ')}`;
}
