import { pick } from './digest.ts';
import type { Facts } from './facts.ts';
import type { JsonSchema } from './json-schema.ts';

export type NumberMaker = (facts: Facts, salt: number) => number;

/**
 * Makes the numbers of one place in a schema: the value that the prompt gives under the property's name, a
 * year found in the text, or one drawn from the range; always within the bounds.
 */
export function numberMaker(schema: JsonSchema, name: string): NumberMaker {
  const label = name.toLowerCase().replaceAll('_', ' ');
  const isInteger =
    schema.type === 'integer' || (Array.isArray(schema.type) && schema.type.includes('integer'));
  const isYear = /(^|_|\b)year/i.test(name);
  const isScore = /rating|score|stars|confidence|probability|percent/i.test(name);
  const [low, high] = boundsOf(schema, isInteger, isYear, isScore, /confidence|probability/i.test(name));
  // Integers and multiples stand on a grid through zero; other numbers on one that begins at the low end.
  const grid = schema.multipleOf ?? (isInteger ? 1 : null);
  const step = grid ?? (high - low >= 1 ? 0.1 : (high - low) / 100);
  const first = grid === null ? low : Math.ceil(round(low / grid)) * grid;
  const count = step > 0 ? Math.min(1 + Math.floor(round((high - first) / step)), 1_000_000_000) : 1;

  const fits = (value: number) =>
    Number.isFinite(value) &&
    value >= low &&
    value <= high &&
    (!isInteger || Number.isInteger(value)) &&
    (schema.multipleOf === undefined || Number.isInteger(value / schema.multipleOf));

  return (facts, salt) => {
    const given = facts.fields.get(label) ?? facts.fields.get(name.toLowerCase());
    const value = given !== undefined && /^-?\d+(\.\d+)?$/.test(given) ? Number(given) : Number.NaN;
    if (fits(value)) return value;
    if (isYear) {
      const year = Number(/\b(1[89]|20)\d\d\b/.exec(facts.lower)?.[0] ?? Number.NaN);
      if (fits(year)) return year;
    }
    const drawn = pick(facts.digest, salt, count);
    // Validators divide as machines do: 1.12 is no multiple of 0.01 to them, and the next one has to do.
    for (let i = 0; i < Math.min(count, 100); i++) {
      const value = first + ((drawn + i) % count) * step;
      const clean = Number.isInteger(value) ? value : Math.min(high, Math.max(low, round(value)));
      if (fits(clean)) return clean;
    }
    return first;
  };
}

function boundsOf(
  schema: JsonSchema,
  isInteger: boolean,
  isYear: boolean,
  isScore: boolean,
  isShare: boolean,
): [low: number, high: number] {
  const tiny = isInteger ? 1 : 0.001;
  let low = schema.minimum ?? Number.NEGATIVE_INFINITY;
  let high = schema.maximum ?? Number.POSITIVE_INFINITY;
  if (typeof schema.exclusiveMinimum === 'number') low = Math.max(low, schema.exclusiveMinimum + tiny);
  if (typeof schema.exclusiveMaximum === 'number') high = Math.min(high, schema.exclusiveMaximum - tiny);
  const [usualLow, usualHigh] = isYear ? [1950, 2024] : isShare ? [0, 1] : isScore ? [1, 10] : [0, 100];
  // A bound that is given moves the usual range; it need not lie within it.
  if (low === Number.NEGATIVE_INFINITY) low = Math.min(usualLow, high);
  if (high === Number.POSITIVE_INFINITY) high = low > usualLow ? low + (usualHigh - usualLow) : usualHigh;
  return [low, Math.max(low, high)];
}

/** Takes off what binary fractions add: 7 × 0.1 is 0.7000000000000001. */
function round(value: number): number {
  return Number(value.toPrecision(14));
}
