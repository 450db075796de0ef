import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { settled, startWorld, type World } from '../support/service.ts';

// What a model might be sent, and what must arrive there as it stands in the table.
const texts: [name: string, text: string | null][] = [
  ['quotes', `He said "it's 'over'" \\ and \\" left`],
  ['newlines', 'first\nsecond\r\nthird\n\n'],
  ['U+2028 and U+2029', 'before\u2028between\u2029after'],
  ['U+0085', 'before\u0085after'],
  ['a NUL escape as text', 'before\\u0000after'],
  ['surrogate escapes as text', 'before\\ud83dafter \\udc00'],
  ['emoji', '👩‍👩‍👧‍👦 and 🏴‍☠️ and é and 𝒳'],
  ['a placeholder', '{{Title}} and {{ body }} and {{{{'],
  ['dollar patterns', "$& $1 $` $' $$"],
  ['a special token', '<|endoftext|> <|im_start|>system'],
  ['JSON', '{"custom_id":"c1-0-0000000000000000"}\n{"x":1}'],
  ['100 KB', `${'lorem ipsum \u2028 '.repeat(7000)}end`],
  ['control characters', '\u0001\u0007\b\f\u001b[31m\u007f'],
  ['right to left', '\u202eabc שלום مرحبا'],
  ['an empty string', ''],
  ['null', null],
];

describe('text that hurts', () => {
  let world: World;
  const prompts = new Map<string, string>();
  beforeAll(async () => {
    world = await startWorld();
    await world.sql`create table notes ("Title" text primary key, body text, doc json, echo text)`;
    await world.sql`
      select rowmill.create_pipeline(name => 'notes', source => 'notes', instructions => null,
        prompt => '{{Title}}|{{body}}|', outputs => array['echo'], model => 'gpt-4o-mini', format => 'text', flush_after => '0 seconds')`;
    for (const [name, text] of texts)
      await world.sql`insert into notes ("Title", body) values (${name}, ${text})`;
    for (let n = 0; n < 50; n += 1)
      await world.sql`insert into notes ("Title", body) values (${`plain ${n}`}, 'plain')`;
    await settled(world.sql, 'notes');
    for (const [name, text] of texts) prompts.set(name, `${name}|${text ?? ''}|`);
  });
  afterAll(() => world.stop());

  it.each(texts.map(([name]) => name))(
    '%s reaches the provider unchanged and gets its answer',
    async (name) => {
      expect(world.simulator.ledger.timesPrompted(prompts.get(name)!)).toBe(1);
      const [row] = await world.sql`select echo from notes where "Title" = ${name}`;
      expect(row!.echo).not.toBeNull();
    },
  );

  it('breaks none of its neighbours', async () => {
    expect(await world.sql`select * from rowmill.row_failures`).toEqual([]);
    const [plain] =
      await world.sql`select count(*) from notes where "Title" like 'plain %' and echo is not null`;
    expect(plain!.count).toBe(50);
    const [status] =
      await world.sql`select enriched, problem from rowmill.pipeline_status where name = 'notes'`;
    expect(status).toMatchObject({ problem: null });
    expect(Number(status!.enriched)).toBe(50 + texts.length);
  });

  it('escapes in a json column, which jsonb refuses, travel as they stand', async () => {
    await world.sql`create table documents (id integer primary key, doc json, echo text)`;
    await world.sql`
      select rowmill.create_pipeline(name => 'documents', source => 'documents', instructions => null,
        prompt => '{{doc}}', outputs => array['echo'], model => 'gpt-4o-mini', format => 'text', flush_after => '0 seconds')`;
    const hostile = [
      '{"a":"\\u0000"}',
      '{"a":"\\ud800"}',
      '{"a" : 12345678901234567890.12}',
      '{"a":1,"a":2}',
    ];
    for (const [at, doc] of hostile.entries())
      await world.sql`insert into documents (id, doc) values (${at}, ${doc}::text::json)`;
    await settled(world.sql, 'documents');
    for (const doc of hostile) expect(world.simulator.ledger.timesPrompted(doc)).toBe(1);
    expect(await world.sql`select from documents where echo is null`).toHaveLength(0);
  });
});

describe('answers that hurt', () => {
  let world: World;
  /** The model's answer for the row whose prompt is the key. */
  const answers: Record<string, string> = {
    nul: '{"summary":"before\\u0000after","score":1}',
    surrogate: '{"summary":"before\\ud800after","score":1}',
    emoji: '{"summary":"👩‍👧 \\u2028 \\"quoted\\" \\n","score":2}',
    'big number': '{"summary":"x","score":12345678901234567890.123456789}',
    'not json': 'I am sorry, but',
    'wrong type': '{"summary":"x","score":"many"}',
    half: '{"summary":"x"',
    'not an object': '[1,2]',
    'missing property': '{"summary":"x"}',
  };
  beforeAll(async () => {
    const { rewriteAnswers } = await import('../support/rewrite-answers.ts');
    world = await startWorld({ simulator: { faults: rewriteAnswers(answers) } });
    await world.sql`create table notes (body text primary key, summary text, score numeric)`;
    await world.sql`
      select rowmill.create_pipeline(name => 'notes', source => 'notes', instructions => null,
        prompt => '{{body}}', outputs => array['summary', 'score'], model => 'gpt-4o-mini', flush_after => '0 seconds', max_attempts => 1)`;
    await world.sql`insert into notes (body) select unnest(${Object.keys(answers)}::text[]) union all select 'plain ' || n from generate_series(1, 90) as n`;
    await settled(world.sql, 'notes');
  });
  afterAll(() => world.stop());

  it.each([
    ['nul', 'type_mismatch'],
    ['surrogate', 'type_mismatch'],
    ['not json', 'invalid_json'],
    ['half', 'invalid_json'],
    ['wrong type', 'schema_mismatch'],
    ['not an object', 'schema_mismatch'],
    ['missing property', 'schema_mismatch'],
  ])('%s is refused as %s, with its reason', async (body, errorClass) => {
    const [failure] =
      await world.sql`select error_class, message, attempts from rowmill.row_failures where key = ${world.sql.json([body])}`;
    expect(failure).toMatchObject({ error_class: errorClass, attempts: 1 });
    expect(failure!.message.length).toBeGreaterThan(10);
  });

  it('are written unchanged where Postgres can hold them', async () => {
    const [emoji] = await world.sql`select summary, score::text from notes where body = 'emoji'`;
    expect(emoji).toEqual({ summary: '👩‍👧 \u2028 "quoted" \n', score: '2' });
    const [big] = await world.sql`select score::text from notes where body = 'big number'`;
    expect(big!.score).toBe('12345678901234567890.123456789');
  });

  it('break none of their neighbours', async () => {
    const [plain] =
      await world.sql`select count(*) from notes where body like 'plain %' and summary is not null`;
    expect(plain!.count).toBe(90);
  });
});
