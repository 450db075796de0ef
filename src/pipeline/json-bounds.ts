/** Beyond these JSON.parse takes seconds and hundreds of megabytes for a text of a few; no answer needs them. */
const maxDepth = 1_000;
const maxValues = 250_000;
/** A shorter text does no harm, whatever it holds; nearly every answer is one. */
const harmlessLength = 65_536;

export type BoundsProblem = { code: 'nested_too_deep' | 'too_many_values'; message: string };

/**
 * Takes JSON text, or what should be some; returns what in it is beyond reason, or null: how deep it is nested, and how many
 * values it has, an array or an object counting twice. Looks at each character once and keeps nothing. Raises nothing; whether it is JSON is for a parser to say.
 */
export function boundsProblem(text: string): BoundsProblem | null {
  if (text.length <= harmlessLength) return null;
  let depth = 0;
  let values = 1;
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    if (unit === quote) {
      at = endOfString(text, at + 1);
    } else if (unit === comma) {
      values += 1;
    } else if (unit === openBracket || unit === openBrace) {
      depth += 1;
      values += 1;
      if (depth > maxDepth) {
        return { code: 'nested_too_deep', message: `nested deeper than ${maxDepth} levels` };
      }
    } else if (unit === closeBracket || unit === closeBrace) {
      depth -= 1;
    }
  }
  return values > maxValues
    ? { code: 'too_many_values', message: `holds more than ${maxValues} values` }
    : null;
}

const quote = 0x22;
const comma = 0x2c;
const openBracket = 0x5b;
const backslash = 0x5c;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/** Where the string's closing quote stands, or the end of the text. */
function endOfString(text: string, start: number): number {
  let at = start;
  for (; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    if (unit === quote) return at;
    if (unit === backslash) at += 1;
  }
  return at;
}
