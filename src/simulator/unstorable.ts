import { Ajv } from 'ajv';

// Beyond bigint. JavaScript would write 1e20 in its place.
const hugeNumber = '99999999999999999999';
const nul = '\u0000';

// Node has it; TypeScript's libraries do not yet.
const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };

/**
 * The same answer with values that its schema allows and Postgres does not store: huge integers, and strings
 * that begin with U+0000. What the schema binds (an enum, a maximum, a pattern) stays as it was, and so does an
 * answer that is no JSON.
 */
export function unstorable(answer: string, schemaText: string | null): string {
  const validate = validatorFor(schemaText);
  if (validate === null) return `${nul}${answer}`;
  const root = { answer: JSON.parse(answer) as unknown };
  // Each value for itself, so that one which is bound does not save the others.
  spoil(root, () => validate(root.answer));
  return JSON.stringify(root.answer, (_key, value: unknown) =>
    value === Number(hugeNumber) ? rawJSON(hugeNumber) : value,
  );
}

function spoil(holder: object, isValid: () => boolean): void {
  const members = holder as Record<string, unknown>;
  for (const [key, value] of Object.entries(members)) {
    if (typeof value === 'object' && value !== null) spoil(value, isValid);
    const spoilt = spoiltValue(value);
    if (spoilt === undefined) continue;
    members[key] = spoilt;
    if (!isValid()) members[key] = value;
  }
}

function spoiltValue(value: unknown): string | number | undefined {
  if (typeof value === 'number') return Number(hugeNumber);
  // In the place of the first character: the text gets no longer than its schema allows.
  if (typeof value === 'string') return nul + [...value].slice(1).join('');
  return undefined;
}

type Validator = (value: unknown) => boolean;

const validators = new Map<string, Validator>();
const validatorsKept = 50;

function validatorFor(schemaText: string | null): Validator | null {
  if (schemaText === null) return null;
  const known = validators.get(schemaText);
  if (known) return known;
  const validate = compile(JSON.parse(schemaText) as Record<string, unknown>);
  if (validators.size >= validatorsKept) validators.clear();
  validators.set(schemaText, validate);
  return validate;
}

// As loosely as schemas are answered: drafts, formats and unknown keywords bind nobody.
function compile({ $schema: _draft, ...schema }: Record<string, unknown>): Validator {
  try {
    return new Ajv({ strict: false, validateFormats: false, logger: false }).compile(schema);
  } catch {
    return () => true;
  }
}
