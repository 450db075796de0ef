import { jsonExcess } from '../json-size.ts';

/** Beyond these JSON.parse takes seconds and hundreds of megabytes for a text of a few; no answer needs them. */
const maxDepth = 1_000;
const maxValues = 250_000;
/** A shorter text does no harm, whatever it holds; nearly every answer is one. */
const harmlessLength = 65_536;

export type BoundsProblem = { code: 'nested_too_deep' | 'too_many_values'; message: string };

/**
 * Takes JSON text, or what should be some; returns what in it is beyond reason, or null. Raises nothing; whether it is JSON
 * is for a parser to say.
 */
export function boundsProblem(text: string): BoundsProblem | null {
  if (text.length <= harmlessLength) return null;
  switch (jsonExcess(text, { maxDepth, maxValues })) {
    case 'depth':
      return { code: 'nested_too_deep', message: `nested deeper than ${maxDepth} levels` };
    case 'values':
      return { code: 'too_many_values', message: `holds more than ${maxValues} values` };
    case null:
      return null;
  }
}
