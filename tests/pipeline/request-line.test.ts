import { describe, expect, test } from 'vitest';
import type { PipelineDefinition } from '../../src/pipeline/pipeline.ts';
import { compileRequestLine } from '../../src/pipeline/request-line.ts';
import { filmSchema, hash, hostileTexts, makeDefinition } from './factories.ts';

function write(changes: Partial<PipelineDefinition>, title = 'Heat'): string {
  const result = compileRequestLine(makeDefinition(changes))(42, {
    n: 7,
    hash,
    input: { Title: title, Description: null },
    scale: 1,
  });
  if ('problem' in result) throw new Error(result.problem.message);
  return result.line;
}

const promptOf = (title: string) => `Title: ${title}\nDescription: `;

describe('compileRequestLine for chat completions', () => {
  test('a line is a whole chat request', () => {
    expect(JSON.parse(write({ params: { temperature: 0, max_completion_tokens: 300 } }))).toEqual({
      custom_id: `c42-7-${hash}`,
      method: 'POST',
      url: '/v1/chat/completions',
      body: {
        model: 'gpt-4o-mini',
        messages: [
          { role: 'system', content: 'Summarise the film.' },
          { role: 'user', content: promptOf('Heat') },
        ],
        response_format: {
          type: 'json_schema',
          json_schema: { name: 'movies', strict: true, schema: JSON.parse(filmSchema) },
        },
        temperature: 0,
        max_completion_tokens: 300,
      },
    });
  });

  test.each([null, ''])('instructions of %j make no system message', (instructions) => {
    expect(JSON.parse(write({ instructions })).body.messages).toEqual([
      { role: 'user', content: promptOf('Heat') },
    ]);
  });

  test('plain text asks for no format', () => {
    const { body } = JSON.parse(write({ format: 'text', response_schema_text: null }));
    expect(body).not.toHaveProperty('response_format');
  });

  test('params cannot replace what the pipeline decides', () => {
    const params = { model: 'o3', messages: [], response_format: { type: 'text' }, seed: 1 };
    const line = write({ params });
    expect(JSON.parse(line).body).toEqual({ ...JSON.parse(write({})).body, seed: 1 });
    expect(line.match(/"model"/g)).toHaveLength(1);
  });

  test('the schema keeps the order of its keys, and loses its line breaks', () => {
    const schema = '{\n  "type": "object",\r\n  "properties": {"2": {}, "b": {}, "1": {}, "a": {}}\n}\n';
    const line = write({ response_schema_text: schema });
    expect(line).toContain('"properties": {"2": {}, "b": {}, "1": {}, "a": {}}');
    expect(line).not.toMatch(/[\r\n]/);
    expect(JSON.parse(line).body.response_format.json_schema.schema).toEqual(JSON.parse(schema));
  });

  test.each([
    ['movies', 'movies'],
    ['Filme & "Kritik" 2024', 'Filme____Kritik__2024'],
    ['x'.repeat(100), 'x'.repeat(64)],
    ['', 'answer'],
  ])('the pipeline %j names its schema %j', (name, expected) => {
    expect(JSON.parse(write({ name })).body.response_format.json_schema.name).toBe(expected);
  });

  test.each([null, '', '{"type":'])('a schema of %j is refused', (response_schema_text) => {
    expect(() => compileRequestLine(makeDefinition({ response_schema_text }))).toThrow(
      expect.objectContaining({ code: 'pipeline_schema_invalid' }) as Error,
    );
  });
});

describe('compileRequestLine for responses', () => {
  const endpoint = '/v1/responses' as const;
  const format = { type: 'json_schema', name: 'movies', strict: true, schema: JSON.parse(filmSchema) };

  test('a line is a whole request for a response', () => {
    expect(JSON.parse(write({ endpoint, params: { store: false } }))).toEqual({
      custom_id: `c42-7-${hash}`,
      method: 'POST',
      url: '/v1/responses',
      body: {
        model: 'gpt-4o-mini',
        instructions: 'Summarise the film.',
        input: promptOf('Heat'),
        text: { format },
        store: false,
      },
    });
  });

  test('params.text is merged, its format is not', () => {
    const params = { text: { verbosity: 'low', format: { type: 'text' } }, input: 'x', instructions: 'y' };
    const { body } = JSON.parse(write({ endpoint, params, instructions: null }));
    expect(body).toEqual({
      model: 'gpt-4o-mini',
      input: promptOf('Heat'),
      text: { format, verbosity: 'low' },
    });
  });

  test('plain text has a text member only where params give one', () => {
    const text = { endpoint, format: 'text' as const, response_schema_text: null };
    expect(JSON.parse(write(text)).body).not.toHaveProperty('text');
    const { body } = JSON.parse(write({ ...text, params: { text: { verbosity: 'low' } } }));
    expect(body.text).toEqual({ verbosity: 'low' });
  });
});

describe('compileRequestLine and hostile text', () => {
  test.each(Object.entries(hostileTexts))('data arrives as it is, on one line: %s', (_what, text) => {
    const line = write({ instructions: text }, text);
    // Every character that some reader takes for the end of a line.
    expect(line).not.toMatch(/[\n\r\v\f\u0085\u2028\u2029]/);
    const { body } = JSON.parse(line);
    expect(body.messages.at(-1).content).toBe(promptOf(text));
    if (text !== '') expect(body.messages[0].content).toBe(text);
  });

  test('a lone surrogate is a problem of the row, not of the chunk', () => {
    const writeLine = compileRequestLine(makeDefinition());
    const input = { Title: 'cut \ud83d', Description: 'd' };
    expect(writeLine(42, { n: 0, hash, input, scale: 1 })).toEqual({
      problem: { class: 'invalid_request', message: expect.stringContaining('surrogate') as string },
    });
  });

  test('a malformed hash never reaches a line', () => {
    const writeLine = compileRequestLine(makeDefinition());
    expect(() => writeLine(42, { n: 0, hash: '","url":"/v1/x"', input: {}, scale: 1 })).toThrow(
      expect.objectContaining({ code: 'custom_id_invalid' }) as Error,
    );
  });
});
