import { Ajv } from 'ajv';
import { describe, expect, it } from 'vitest';
import { answerFlaws } from '../../src/simulator/answer-flaws.ts';
import {
  chatLine,
  contentOf,
  type ResultLine,
  readResults,
  responsesLine,
  runBatch,
  startWith,
} from './harness.ts';
import { schemas } from './schemas.ts';

const film = schemas.film!;
const lines = (count: number, schema: unknown = film) =>
  Array.from({ length: count }, (_, i) => chatLine(`c-${i}`, `Title: Film ${i}\nPlot: love, war`, schema));
const forms = [
  ['/v1/chat/completions', chatLine],
  ['/v1/responses', responsesLine],
] as const;

type Body = {
  usage: Record<string, number>;
  status?: string;
  incomplete_details?: unknown;
  choices?: { finish_reason: string; message: { content: string | null; refusal: string | null } }[];
  output?: { content: Record<string, unknown>[] }[];
};
const bodyOf = (line: ResultLine) => line.response!.body as unknown as Body;

/** The answer that a flaw made of `prompt` in the form of an endpoint, and the proper one. */
async function answered(flaw: string, form: (typeof forms)[number], schema: unknown = film) {
  const { openai, simulator } = await startWith(`answer_${flaw}@1`);
  const [endpoint, line] = form;
  const results: ResultLine[] = [];
  for (const _ of [1, 2]) {
    const batch = await runBatch(openai, [line('a', 'Title: Some Film\nPlot: love, war', schema)], endpoint);
    expect(batch).toMatchObject({ status: 'completed', error_file_id: null, request_counts: { failed: 0 } });
    results.push(...(await readResults(openai, batch.output_file_id)));
  }
  const [first, second] = results as [ResultLine, ResultLine];
  expect(first).toMatchObject({ error: null, response: { status_code: 200 } });
  return { flawed: bodyOf(first), result: first, proper: contentOf(second), simulator };
}

describe.each(forms)('an answer of %s', (...form) => {
  const isChat = form[0] === '/v1/chat/completions';

  it('is refused: a refusal in the place of content', async () => {
    const { flawed } = await answered('refused', form);
    if (isChat) {
      expect(flawed.choices).toMatchObject([
        { finish_reason: 'stop', message: { content: null, refusal: expect.stringMatching(/can't help/) } },
      ]);
    } else {
      expect(flawed).toMatchObject({ status: 'completed', incomplete_details: null });
      expect(flawed.output![0]!.content).toEqual([
        { type: 'refusal', refusal: expect.stringMatching(/can't help/) },
      ]);
    }
  });

  it.each([
    ['filtered', 'content_filter', 'content_filter'],
    ['cut', 'length', 'max_output_tokens'],
  ])('is %s: half of it, and the reason told', async (flaw, finish, reason) => {
    const { flawed, result, proper } = await answered(flaw, form);
    expect(contentOf(result)).toBe(proper.slice(0, Math.floor(proper.length / 2)));
    expect(() => JSON.parse(contentOf(result))).toThrow();
    if (isChat) expect(flawed.choices![0]!.finish_reason).toBe(finish);
    else expect(flawed).toMatchObject({ status: 'incomplete', incomplete_details: { reason } });
  });

  it.each([
    ['not_json', /^In short: Some Film/],
    ['off_schema', /^\{"unexpected": true\}$/],
  ])('is %s, and says no word of it', async (flaw, text) => {
    const { flawed, result } = await answered(flaw, form);
    expect(contentOf(result)).toMatch(text);
    if (isChat)
      expect(flawed.choices![0]).toMatchObject({ finish_reason: 'stop', message: { refusal: null } });
    else expect(flawed).toMatchObject({ status: 'completed', incomplete_details: null });
  });

  it.each(answerFlaws)(
    'that is %s is paid for and spoiled, so that one repeat of it is explained',
    async (flaw) => {
      const { flawed, simulator } = await answered(flaw, form);
      const output = flawed.usage.completion_tokens ?? flawed.usage.output_tokens!;
      expect(output).toBeGreaterThan(0);
      const [first, second] = simulator.batches();
      expect(first!.usage.output_tokens).toBe(output);
      expect(first!.usage.input_tokens).toBe(second!.usage.input_tokens);
      expect(simulator.ledger.summary()).toMatchObject({
        executed: 2,
        failed: 0,
        spoiled: 1,
        repeatedPrompts: 1,
        unexplainedRepeats: 0,
        inputTokens: first!.usage.input_tokens * 2,
        outputTokens: output + second!.usage.output_tokens,
      });
    },
  );
});

describe('an answer that is off_type', () => {
  const object = (properties: Record<string, object>) => ({
    type: 'object',
    additionalProperties: false,
    required: Object.keys(properties),
    properties,
  });
  const textOf = async (schema: object) => contentOf((await answered('off_type', forms[0], schema)).result);

  it('keeps its keys and fits its schema, with values that Postgres does not store', async () => {
    const schema = object({
      year: { type: ['integer', 'null'] },
      price: { type: 'number' },
      title: { type: 'string' },
      tags: { type: 'array', minItems: 1, items: { type: 'string' } },
      seen: { type: 'boolean' },
    });
    const text = await textOf(schema);
    const answer = JSON.parse(text) as Record<string, unknown>;
    expect(new Ajv().compile(schema)(answer)).toBe(true);
    expect(text).toMatch(/"year":99999999999999999999,"price":99999999999999999999,"title":"\\u0000/);
    expect(answer.tags).toEqual((answer.tags as string[]).map(() => expect.stringMatching(/^\0/)));
    expect(typeof answer.seen).toBe('boolean');
  });

  it('leaves alone what the schema binds, each value for itself', async () => {
    const schema = object({
      rating: { type: 'integer', minimum: 1, maximum: 5 },
      mood: { enum: ['good', 'bad'] },
      short: { type: 'string', maxLength: 3 },
      count: { $ref: '#/$defs/count' },
    });
    const answer = JSON.parse(await textOf({ ...schema, $defs: { count: { type: 'integer' } } }));
    expect(answer.rating).toBeLessThanOrEqual(5);
    expect(['good', 'bad']).toContain(answer.mood);
    expect(answer.short).toMatch(/^\0.{0,2}$/u);
    expect(answer.count).toBe(1e20);
  });

  it('spoils nothing where nothing could be changed', async () => {
    const { openai, simulator } = await startWith('answer_off_type');
    await runBatch(openai, lines(2, object({ mood: { enum: ['good', 'bad'] } })));
    expect(simulator.ledger.summary()).toMatchObject({ executed: 2, spoiled: 0 });
  });

  it('is made of a schema that no validator takes as well', async () => {
    const text = await textOf({ ...object({ title: { type: 'string' } }), required: 'title' });
    expect(text).toMatch(/^\{"title":"\\u0000/);
  });

  it('holds U+0000 where it is plain text', async () => {
    const { openai, simulator } = await startWith('answer_off_type');
    const batch = await runBatch(openai, [chatLine('a', 'Some text')]);
    expect(contentOf((await readResults(openai, batch.output_file_id))[0]!)).toBe('\0In short: Some text');
    expect(simulator.ledger.spoiled).toBe(1);
  });
});

describe('a rule about answers', () => {
  it('strikes where the prompt holds its text, to the letter, whatever other rules do', async () => {
    const { openai, simulator } = await startWith('answer_refused;prompt=Film 1\n', 'request_fails@2');
    const batch = await runBatch(openai, lines(12));
    // Both rules strike c-1, and the first one's is what happens.
    expect(batch.request_counts).toEqual({ total: 12, completed: 12, failed: 0 });
    const refused = (await readResults(openai, batch.output_file_id)).filter(
      (line) => bodyOf(line).choices![0]!.message.refusal !== null,
    );
    expect(refused.map(({ custom_id }) => custom_id)).toEqual(['c-1']);
    expect(simulator.ledger.spoiled).toBe(1);
  });

  it("does not look into the system's words", async () => {
    const { openai, simulator } = await startWith('answer_refused;prompt=poison');
    const messages = [
      { role: 'system', content: 'No poison, please.' },
      { role: 'user', content: 'A film' },
    ];
    await runBatch(openai, [chatLine('a', '', film, { messages })]);
    expect(simulator.ledger).toMatchObject({ executed: 1, spoiled: 0 });
  });

  it('counts occasions among the requests with its text alone', async () => {
    const { openai, simulator } = await startWith('answer_cut@2;prompt=Film 3');
    await runBatch(openai, lines(5));
    expect(simulator.ledger.spoiled).toBe(0);
    const batch = await runBatch(openai, lines(5));
    const cut = (await readResults(openai, batch.output_file_id)).filter(
      (line) => bodyOf(line).choices![0]!.finish_reason === 'length',
    );
    expect(cut.map(({ custom_id }) => custom_id)).toEqual(['c-3']);
    expect(simulator.ledger.spoiled).toBe(1);
  });

  it('spoils nothing of a request that is refused anyway', async () => {
    const { openai, simulator } = await startWith('answer_cut');
    const batch = await runBatch(openai, [chatLine('bad', 'x', film, { model: 'no-such-model' })]);
    expect(batch.request_counts).toMatchObject({ completed: 0, failed: 1 });
    expect(simulator.ledger.summary()).toMatchObject({ executed: 1, failed: 1, spoiled: 0, inputTokens: 0 });
  });

  it('spoils a payment once, though its line is lost as well', async () => {
    const { openai, simulator } = await startWith('answer_off_schema', 'line_missing@1', 'no_output_file@2');
    await runBatch(openai, lines(2));
    expect(simulator.ledger.summary()).toMatchObject({ executed: 2, spoiled: 2 });
    await runBatch(openai, lines(2));
    expect(simulator.ledger.summary()).toMatchObject({ executed: 4, spoiled: 4, unexplainedRepeats: 0 });
    await runBatch(openai, lines(2));
    await runBatch(openai, lines(2));
    expect(simulator.ledger.summary()).toMatchObject({ spoiled: 8, unexplainedRepeats: 0 });
  });

  it('explains no repeat of answers that were proper', async () => {
    const { openai, simulator } = await startWith('answer_not_json@1');
    for (const _ of [1, 2, 3]) await runBatch(openai, lines(2));
    expect(simulator.ledger.summary()).toMatchObject({
      repeatedPrompts: 4,
      spoiled: 1,
      unexplainedRepeats: 3,
    });
  });
});
