export type JsonLimits = { maxDepth: number; maxValues: number };

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const openArray = 0x5b;
const closeArray = 0x5d;
const openObject = 0x7b;
const closeObject = 0x7d;

/**
 * Takes a text that claims to be JSON; returns which limit it is beyond, or null: how deep it is nested, or how many values
 * it has, an array or an object counting twice. To be asked before JSON.parse: a few megabytes of `[` cost it gigabytes.
 * One pass over the text, which keeps nothing; whether the text is JSON at all is not looked at.
 */
export function jsonExcess(text: string, { maxDepth, maxValues }: JsonLimits): 'depth' | 'values' | null {
  let depth = 0;
  let values = 1;
  for (let at = 0; at < text.length; at += 1) {
    switch (text.charCodeAt(at)) {
      case quote:
        at = endOfString(text, at);
        break;
      case openArray:
      case openObject:
        depth += 1;
        values += 1;
        if (depth > maxDepth) return 'depth';
        break;
      case closeArray:
      case closeObject:
        depth -= 1;
        break;
      case comma:
        values += 1;
        break;
    }
    if (values > maxValues) return 'values';
  }
  return null;
}

/** Where the string that begins here ends: at its second quote, or with the text. */
function endOfString(text: string, begin: number): number {
  for (let at = begin + 1; at < text.length; at += 1) {
    const character = text.charCodeAt(at);
    if (character === quote) return at;
    if (character === backslash) at += 1;
  }
  return text.length;
}
