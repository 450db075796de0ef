import { matchPattern, readExpression } from './answer-pattern.ts';
import { pick } from './digest.ts';
import { cutTo, type Facts } from './facts.ts';
import type { JsonSchema } from './json-schema.ts';

/** What a string is to hold, by its name and its schema; decided once for each schema. */
export type StringKind =
  | 'summary'
  | 'title'
  | 'category'
  | 'sentiment'
  | 'json'
  | 'format'
  | 'pattern'
  | 'other';

export type StringMaker = (facts: Facts, salt: number) => string;

/** Which kind a string property is; `inherited` is the name of the array that it is an item of. */
export function stringKind(schema: JsonSchema, name: string): StringKind {
  if (schema.format !== undefined && Object.hasOwn(formats, schema.format)) return 'format';
  if (schema.pattern !== undefined) return 'pattern';
  if (
    schema.description &&
    /\bJSON (document|text|value|object|array|string|data)\b/i.test(schema.description)
  ) {
    return 'json';
  }
  if (
    /summar|descri|abstract|synops|text|explan|reason|note|comment|answer|content|sentence|overview/i.test(
      name,
    )
  ) {
    return 'summary';
  }
  if (/title|^name$|headline|subject/i.test(name)) return 'title';
  if (/categor|genre|tag|topic|keyword|theme|label/i.test(name)) return 'category';
  if (/sentiment|tone|mood/i.test(name)) return 'sentiment';
  return 'other';
}

/** Kinds that can carry the summary, and with it what is particular to the prompt; the best first. */
export const carrierKinds: StringKind[] = ['summary', 'other', 'title', 'category', 'json', 'sentiment'];

/** Makes the strings of one place in a schema, within its lengths. */
export function stringMaker(schema: JsonSchema, name: string, kind: StringKind): StringMaker {
  const make = makerOf(schema, name, kind);
  const { minLength = 0, maxLength } = schema;
  if (kind === 'format' || kind === 'pattern' || (minLength === 0 && maxLength === undefined)) return make;
  return (facts, salt) => {
    const made = make(facts, salt);
    return cutPoints(made.length < minLength ? made.padEnd(minLength * 2, '.') : made, minLength, maxLength);
  };
}

// Lengths in schemas count code points, and JavaScript's count units.
function cutPoints(text: string, minimum: number, maximum: number | undefined): string {
  if (maximum === undefined || text.length <= maximum) return text;
  const points = Array.from(text);
  return points.length <= maximum ? text : points.slice(0, Math.max(minimum, maximum)).join('');
}

function makerOf(schema: JsonSchema, name: string, kind: StringKind): StringMaker {
  switch (kind) {
    case 'summary':
      return (facts) => facts.summary;
    case 'title':
      return (facts) => facts.title || cutTo(facts.words.slice(0, 3).join(' '), 120);
    case 'category':
      return /s$/i.test(name)
        ? (facts) => facts.categories.join(', ')
        : (facts, salt) => facts.categories[salt % facts.categories.length]!;
    case 'sentiment':
      return (facts) => facts.sentiment;
    case 'json':
      return /JSON array/i.test(schema.description ?? '')
        ? (facts) => JSON.stringify([facts.summary, ...facts.categories])
        : (facts) => JSON.stringify({ summary: facts.summary, categories: facts.categories });
    case 'format':
      return formats[schema.format!]!;
    case 'pattern':
      return patternMaker(schema.pattern!);
    case 'other': {
      const label = name.toLowerCase().replaceAll('_', ' ');
      return (facts, salt) =>
        cutTo(facts.fields.get(label) ?? '', 200) || facts.words[salt % facts.words.length]!;
    }
  }
}

function patternMaker(pattern: string): StringMaker {
  const expression = readExpression(pattern);
  return (facts, salt) => {
    const made = matchPattern(pattern, facts.digest + salt);
    if (made !== null) return made;
    return (
      [facts.summary, facts.title, ...facts.words].find((text) => expression.test(text)) ?? facts.summary
    );
  };
}

const two = (value: number) => String(value).padStart(2, '0');
const hex = (facts: Facts, salt: number, digits: number) =>
  Array.from({ length: digits }, (_, i) => pick(facts.digest, salt * 64 + i, 16).toString(16)).join('');
const number = (facts: Facts, salt: number, low: number, high: number) =>
  low + pick(facts.digest, salt, high - low + 1);

const date: StringMaker = (facts, salt) => {
  const written = /\b(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])\b/.exec(facts.lower)?.[0];
  if (written) return written;
  const year = /\b(?:1[89]|20)\d\d\b/.exec(facts.lower)?.[0] ?? number(facts, salt, 1950, 2024);
  return `${year}-${two(number(facts, salt + 1, 1, 12))}-${two(number(facts, salt + 2, 1, 28))}`;
};
const time: StringMaker = (facts, salt) =>
  `${two(number(facts, salt, 0, 23))}:${two(number(facts, salt + 1, 0, 59))}:${two(number(facts, salt + 2, 0, 59))}Z`;
const host: StringMaker = (facts) => `${facts.tag}.example.com`;

const formats: Record<string, StringMaker> = {
  date,
  time,
  'date-time': (facts, salt) => `${date(facts, salt)}T${time(facts, salt)}`,
  duration: (facts, salt) => `P${number(facts, salt, 0, 9)}DT${number(facts, salt + 1, 1, 23)}H`,
  email: (facts) => `reader-${facts.tag}@example.com`,
  hostname: host,
  uri: (facts, salt) => `https://${host(facts, salt)}/`,
  ipv4: (facts, salt) => `192.0.${number(facts, salt, 0, 255)}.${number(facts, salt + 1, 1, 254)}`,
  ipv6: (facts, salt) => `2001:db8::${hex(facts, salt, 4)}`,
  uuid: (facts, salt) =>
    [
      hex(facts, salt, 8),
      hex(facts, salt + 1, 4),
      `4${hex(facts, salt + 2, 3)}`,
      `8${hex(facts, salt + 3, 3)}`,
    ]
      .concat(hex(facts, salt + 4, 12))
      .join('-'),
};
