import type { BoundsProblem } from './json-bounds.ts';
import type { LineOutcome } from './outcome.ts';
import type { LineProblem } from './split-lines.ts';

/** Why a line is not read: its row fails, and the lines around it are read. */
export type Unread = {
  errorClass: 'invalid_json' | 'schema_mismatch' | 'unknown';
  code: string;
  message: string;
};

const reasons: Record<LineProblem | BoundsProblem['code'] | 'check_too_slow', Unread> = {
  too_long: {
    errorClass: 'invalid_json',
    code: 'line_too_long',
    message: 'The answer\u2019s line is longer than 8 MB.',
  },
  not_utf8: {
    errorClass: 'invalid_json',
    code: 'not_utf8',
    message: 'The answer\u2019s line is not UTF-8.',
  },
  nested_too_deep: {
    errorClass: 'invalid_json',
    code: 'nested_too_deep',
    message: 'The answer\u2019s line is nested too deep to be read.',
  },
  too_many_values: {
    errorClass: 'invalid_json',
    code: 'too_many_values',
    message: 'The answer\u2019s line holds too many values to be read.',
  },
  check_too_slow: {
    errorClass: 'schema_mismatch',
    code: 'check_too_slow',
    message:
      'It takes too long to check the answer against the schema. Simplify output_schema: ' +
      'a schema that refers to itself within anyOf or oneOf takes twice as long for each level of the answer.',
  },
};

/** Takes the text of a line, or its beginning, and why it is not read; returns the failure of the row that it names. */
export function unreadOutcome(text: string, reason: keyof typeof reasons): LineOutcome {
  return { customId: findCustomId(text), ok: false, ...reasons[reason], usage: null };
}

/** Takes the text of a line that made its reader raise; returns the failure of the row that it names. */
export function unreadableOutcome(text: string): LineOutcome {
  return {
    customId: findCustomId(text),
    ok: false,
    errorClass: 'unknown',
    code: 'unreadable_line',
    message: 'The answer\u2019s line cannot be read. This is a fault of Rowmill\u2019s.',
    usage: null,
  };
}

// A quote within a string has a backslash before it; so the name and its colon stand in no other string.
const idNearStart = /"custom_id"\s{0,9}:\s{0,9}"(c\d{1,16}-\d{1,16}-[0-9a-f]{16})"/;

/** Takes the text of a line, of a request or of a result; returns the `custom_id` near its start without parsing it, or null. */
export function findCustomId(text: string): string | null {
  return idNearStart.exec(text.slice(0, 512))?.[1] ?? null;
}
