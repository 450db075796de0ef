import type { Random } from '../random.ts';

const bases: ((random: Random) => unknown)[] = [
  (random) => ({ ping: random.between(1, 1000) }),
  (random) => ({ chunk_id: random.between(1_000_000, 2_000_000), pipeline: 'films' }),
  (random) => ({
    ...{ chunk_id: random.between(1_000_000, 2_000_000), pipeline: 'films' },
    rows: [{ n: 0, hash: '0123456789abcdef', input: { title: 'A film', description: null } }],
  }),
  (random) => ({ type: 'batch.completed', data: { id: `batch_${random.between(1, 1000)}` } }),
];

const values: readonly unknown[] = [
  ...[
    null,
    true,
    0,
    -1,
    1.5,
    1e308,
    9007199254740992,
    '',
    'x',
    '\0',
    'a\0b',
    '\ud800',
    '\ufeff',
    '💥',
    [],
    {},
    [[]],
  ],
  ...["'; drop table films; --", '../../etc/passwd', '{{7*7}}', 'x'.repeat(300), 'x'.repeat(70_000)],
  ...[{ toString: 1, valueOf: 1 }, { length: -1 }, { constructor: { prototype: {} } }],
];
const keys = [
  'ping',
  'fill',
  'chunk_id',
  'pipeline',
  'rows',
  'n',
  'hash',
  'input',
  'type',
  'data',
  'id',
  '',
  '\0',
  'constructor',
  'toString',
];

const asText = (change: (text: string, random: Random) => string) => (text: string, random: Random) =>
  Buffer.from(change(text, random));

/** What becomes of a text on its way to bytes. */
const texts: ((text: string, random: Random) => Buffer)[] = [
  asText((text) => `\ufeff${text}`),
  asText((text) => text.slice(0, -1)),
  asText((text) => `${text}${text}`),
  asText((text) => text.replace('{', '{"__proto__":{"ping":1,"isAdmin":true},')),
  asText((text) => text.replace('{', '{"ping":1,"ping":2,"chunk_id":3,')),
  asText((text, random) => '['.repeat(random.between(1, 20_000)) + text),
  asText((text, random) => {
    const depth = random.between(1, 20_000);
    return `{"chunk_id":1,"pipeline":"films","rows":${'['.repeat(depth)}${text}${']'.repeat(depth)}}`;
  }),
  asText((text, random) => `${'{"a":'.repeat(random.between(1, 5000))}${text}`),
  asText((text) => text.replaceAll('"', "'")),
  asText((text, random) => text.replace(/\d+/, '9'.repeat(random.between(1, 400)))),
  asText((text) => text.replace(/\d+/, '1e99999')),
  asText(() => ''),
  asText(() => 'null'),
  asText(() => '"text"'),
  asText(() => 'NaN'),
  (text) => Buffer.from(text, 'utf16le'),
  (text) => Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(text, 'utf16le')]),
  (text) => Buffer.concat([Buffer.from(text), Buffer.from([0])]),
  (text, random) => flip(Buffer.from(text), random),
  (_text, random) => noise(random.between(1, 2000), random),
];

/** Bytes that look more or less like JSON that a worker takes. */
export function mutatedBody(random: Random): Buffer {
  let body = random.pick(bases)(random);
  while (random.chance(0.5)) body = changed(body, random);
  const text = JSON.stringify(body) ?? 'undefined';
  return random.chance(0.5) ? Buffer.from(text) : random.pick(texts)(text, random);
}

/** The value with one thing in it changed, somewhere. */
function changed(value: unknown, random: Random): unknown {
  if (random.chance(0.2) || typeof value !== 'object' || value === null) return random.pick(values);
  const copy: Record<string, unknown> = { ...value };
  const own = Object.keys(copy);
  if (random.chance(0.3) || own.length === 0) copy[random.pick(keys)] = random.pick(values);
  else {
    const key = random.pick(own);
    if (random.chance(0.2)) delete copy[key];
    else copy[key] = changed(copy[key], random);
  }
  return Array.isArray(value) ? Object.values(copy) : copy;
}

function flip(bytes: Buffer, random: Random): Buffer {
  for (let n = random.between(1, 8); n > 0 && bytes.length > 0; n -= 1)
    bytes[random.between(0, bytes.length - 1)] = random.between(0, 255);
  return bytes;
}

function noise(length: number, random: Random): Buffer {
  return Buffer.from(Array.from({ length }, () => random.between(0, 255)));
}
