/**
 * A text of `most` characters at the most. What is cut is copied: a part of a string keeps the whole of it in memory, and
 * a half of a pair of surrogates is no character.
 */
export function boundedText(text: string, most: number): string {
  return text.length <= most ? text : Buffer.from(text.slice(0, most)).toString();
}
