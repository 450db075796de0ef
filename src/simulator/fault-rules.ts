import { z } from 'zod';
import { describeFault, type FaultName, type FaultSubject, faultDetails, faultNames } from './fault-names.ts';
import { type RouteName, routeNames } from './route-names.ts';
import { validationCodes } from './validation-forms.ts';

export { type FaultName, faultNames } from './fault-names.ts';
export type { RouteName } from './route-names.ts';

/**
 * One fault and when it strikes. An occasion is whatever the fault is about: a request of its route, a batch in
 * the order of creation, a line as it is written. Every rule counts its own, and with neither `probability` nor
 * `at` it strikes at all of them. Where several rules would strike one request or line, the first one does.
 */
export type FaultRule = {
  fault: FaultName;
  /** For faults of requests: which; any route of Files and Batches without it. */
  route?: RouteName;
  /** 0..1, for each occasion. */
  probability?: number;
  /** By script: the occasions, from 1, at which it strikes; exactly these. */
  at?: number[];
  /** How long, for faults that last. */
  ms?: number;
  /** How many megabytes, for faults that send them. */
  mb?: number;
  /** For redirects: where to. */
  to?: string;
  /**
   * For fails_validation: which code; without it they take turns (with a prompt it is invalid_request). For
   * request_fails: any code; without it the status's own.
   */
  code?: string;
  /** For request_fails: which status; without it the code's own, or 400, 429, 500 and 0 take turns. */
  status?: number;
  /** For expires and cancels: the part of the requests executed before. */
  share?: number;
  /** For fails_validation: the line that the error names, from 1. */
  line?: number;
  /**
   * A text that the user's prompt holds: the rule is about such requests alone, and counts only these. For
   * fails_validation: about batches with such requests, counted as they are validated; each of these lines is named.
   */
  prompt?: string;
  /**
   * The `rowmill_pipeline` of a batch's metadata: the rule is about such batches alone, and counts only these. For
   * faults of lists: they strike as soon as there has been such a batch.
   */
  pipeline?: string;
};

// Wide enough for a month, and what a timer can hold.
const maximumMs = 2 ** 31 - 1;
const maximumMb = 1_000_000;

const ruleSchema = z
  .strictObject({
    fault: z.enum(faultNames),
    route: z.enum(routeNames).exactOptional(),
    probability: z.number().min(0).max(1).exactOptional(),
    at: z.array(z.int().min(1)).min(1).exactOptional(),
    ms: z.number().min(0).max(maximumMs).exactOptional(),
    mb: z.number().min(0).max(maximumMb).exactOptional(),
    to: z.url({ protocol: /^https?$/ }).exactOptional(),
    code: z.string().min(1).exactOptional(),
    status: z.int().min(0).max(599).exactOptional(),
    share: z.number().min(0).max(1).exactOptional(),
    line: z.int().min(1).exactOptional(),
    prompt: z.string().min(1).exactOptional(),
    pipeline: z.string().min(1).exactOptional(),
  })
  .superRefine((rule, context) => {
    const refuse = (key: keyof FaultRule, message: string) =>
      context.addIssue({ code: 'custom', path: [key], message, input: rule[key] });
    const { subject, ms, mb, takes } = describeFault(rule.fault);
    if (rule.probability !== undefined && rule.at !== undefined)
      refuse('at', 'expected either a probability or at');
    if (rule.route !== undefined && !routesOf(subject).includes(rule.route))
      refuse('route', `${rule.fault} takes no route${subject === 'list' ? ' but list and list_files' : ''}`);
    if (rule.fault.startsWith('token_limit') && (rule.route ?? 'create') !== 'create')
      refuse('route', `${rule.fault} strikes create alone`);
    if (rule.ms !== undefined && ms === undefined) refuse('ms', `${rule.fault} takes no ms`);
    if (rule.mb !== undefined && mb === undefined) refuse('mb', `${rule.fault} takes no mb`);
    if (rule.to === undefined && takes?.includes('to')) refuse('to', 'expected an address');
    if (rule.pipeline !== undefined && (subject === 'request' || subject === 'upload'))
      refuse('pipeline', `${rule.fault} strikes before a pipeline is known`);
    for (const key of faultDetails) {
      if (rule[key] !== undefined && !takes?.includes(key)) refuse(key, `${rule.fault} takes no ${key}`);
    }
    if (rule.code !== undefined && rule.fault !== 'request_fails' && !validationCodes.includes(rule.code))
      refuse('code', `expected one of ${validationCodes.map((code) => `"${code}"`).join('|')}`);
    if (rule.code !== undefined && rule.status === 0)
      refuse('code', 'status 0 comes without a body to hold one');
    if (rule.line !== undefined && rule.prompt !== undefined)
      refuse('line', 'expected either a line or a prompt');
    if (rule.status !== undefined && rule.status !== 0 && rule.status < 400)
      refuse('status', 'expected 0 or the status of an error');
  }) satisfies z.ZodType<FaultRule>;

export const grammar = '<fault>[:<route>][=<probability>|@<n>[,<n>…]][;<key>=…]…';

const ruleForm =
  /^(?<fault>\w+)(?::(?<route>\w+))?(?:=(?<probability>[^;]*)|@(?<at>[^;]*))?(?<options>(?:;(?:ms|mb|to|code|status|share|line|prompt|pipeline)=[^;]*)*)\s*$/;

/** Reads a rule as the command takes it; throws an error that says what was expected, and what came. */
export function parseFault(text: string): FaultRule {
  const groups = ruleForm.exec(text.trimStart())?.groups;
  if (!groups) throw new Error(`a fault reads ${grammar}, and got '${text}'`);
  const { fault, route, probability, at, options } = groups;
  const rule: Record<string, unknown> = { fault };
  if (route !== undefined) rule.route = route;
  if (probability !== undefined) rule.probability = numberOr(probability);
  if (at !== undefined) rule.at = at.split(',').map(numberOr);
  for (const option of options!.split(';').slice(1)) {
    const end = option.indexOf('=');
    const [key, value] = [option.slice(0, end), option.slice(end + 1)];
    // A prompt is taken to the letter: "film 7 " is not "film 7".
    rule[key] = key === 'prompt' ? value : texts.has(key) ? value.trim() : numberOr(value);
  }
  return check(ruleSchema, rule, `the fault '${text}'`);
}

/** Reads a script: a JSON array of rules; throws an error that says which of them is wrong, and how. */
export function readFaultScript(text: string): FaultRule[] {
  let script: unknown;
  try {
    script = JSON.parse(text);
  } catch (error) {
    throw new Error(
      `a fault script is a JSON array of rules, and this is no JSON: ${(error as Error).message}`,
    );
  }
  return check(z.array(ruleSchema), script, 'the fault script');
}

const texts = new Set(['code', 'to', 'pipeline']);

function routesOf(subject: FaultSubject): readonly RouteName[] {
  if (subject === 'list') return ['list', 'list_files'];
  return subject === 'request' ? routeNames : [];
}

function numberOr(text: string): unknown {
  return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text;
}

function check<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const { data, error } = schema.safeParse(value, { reportInput: true });
  if (!error) return data as T;
  const problems = error.issues.map(({ path, message, input }) => {
    const got = typeof input === 'object' ? '' : `, and got ${JSON.stringify(input)}`;
    return `${path.join('.') || 'in all'}: ${message}${got}`;
  });
  throw new Error(`${what} cannot be read: ${problems.join('; ')}`);
}
