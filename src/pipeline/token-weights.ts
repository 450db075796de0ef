/**
 * What a character weighs, in hundredths of a token of o200k: at the start of a run of its kind, and within.
 * Chosen by hand near least-squares fits to prose and manuals in English, German, Russian, Chinese and Arabic and to
 * code. Only the proportions matter, since an estimate corrects the sum by a sample.
 */
const weights = {
  space: [25, 10],
  lineBreak: [35, 60],
  lower: [40, 12],
  upper: [70, 25],
  digit: [155, 30],
  punctuation: [75, 8],
  /** Letters beyond ASCII: Latin ones, others of two bytes, Indic and the like, the rest of three bytes. */
  accented: [50, 130],
  twoBytes: [95, 13],
  indic: [50, 30],
  threeBytes: [60, 83],
  symbol: [100, 65],
  fourBytes: [150, 150],
  /** The bytes of a character after its first. */
  rest: [0, 0],
} as const;

type Kind = keyof typeof weights;
const kinds = Object.keys(weights) as Kind[];

/** By the first byte alone, so some signs count as letters of their script and the other way round. */
function kindOf(byte: number): Kind {
  if (byte === 0x20) return 'space';
  if (byte < 0x20) return 'lineBreak';
  if (byte >= 0x61 && byte <= 0x7a) return 'lower';
  if (byte >= 0x41 && byte <= 0x5a) return 'upper';
  if (byte >= 0x30 && byte <= 0x39) return 'digit';
  if (byte < 0x80) return 'punctuation';
  if (byte < 0xc0) return 'rest';
  if (byte === 0xc2 || byte === 0xe2 || byte === 0xef) return 'symbol';
  if (byte < 0xca) return 'accented';
  if (byte < 0xe0) return 'twoBytes';
  if (byte < 0xe2) return 'indic';
  return byte < 0xf0 ? 'threeBytes' : 'fourBytes';
}

/** A capital within a word starts anew, as in camelCase. After a character of several bytes no script is known. */
function goesOn(before: Kind, kind: Kind): boolean {
  if (before === kind) return true;
  if (before === 'lower' || before === 'upper') return kind === 'lower' || kind === 'accented';
  return before === 'rest' && !['space', 'lineBreak', 'upper', 'digit', 'punctuation'].includes(kind);
}

const kindByByte = Uint8Array.from({ length: 256 }, (_, byte) => kinds.indexOf(kindOf(byte)));

/** By `kind before * 16 + kind`. */
const weightByKinds = new Uint8Array(16 * 16);
for (const [at, kind] of kinds.entries()) {
  for (const [beforeAt, before] of kinds.entries()) {
    weightByKinds[beforeAt * 16 + at] = weights[kind][goesOn(before, kind) ? 1 : 0];
  }
}

/** The weight of a part of a text in UTF-8. Those of adjoining parts add up to that of the whole. */
export function weigh(bytes: Uint8Array, from: number, to: number): number {
  let before = from === 0 ? 0 : kindByByte[bytes[from - 1]!]! << 4;
  let sum = 0;
  for (let i = from; i < to; i += 1) {
    const kind = kindByByte[bytes[i]!]!;
    sum += weightByKinds[before | kind]!;
    before = kind << 4;
  }
  return sum;
}
