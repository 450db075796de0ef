import { describe, expect, test } from 'vitest';
import { parseCustomId } from '../../src/pipeline/custom-id.ts';
import { compileOutcome, type LineOutcome } from '../../src/pipeline/outcome.ts';
import {
  chatBody,
  errorLine,
  hash,
  makeAnyDefinition,
  makeDefinition,
  outputLine,
  responsesBody,
} from './factories.ts';

const customId = `c42-7-${hash}`;
const usage = { inputTokens: 100, cachedTokens: 64, outputTokens: 20 };
const film = JSON.stringify({ summary: 'A thief.', categories: ['Crime', 'Drama'] });
const read = compileOutcome(makeDefinition());

const withStatus = (status: unknown, error: unknown) => outputLine({ error }, status);
const textPart = (text: string) => ({ type: 'output_text', text, annotations: [] });

describe('a good answer', () => {
  const good = { customId, ok: true, values: ['A thief.', ['Crime', 'Drama']], usage };

  test('of chat completions gives the values in the order of the outputs', () => {
    const outcome = read(outputLine(chatBody(film)));
    expect(outcome).toEqual(good);
    expect(parseCustomId(outcome.customId ?? '')).toEqual({ chunkId: 42, n: 7, hash });
  });

  test('of responses is the text of all parts of its messages', () => {
    const parts = [textPart(film.slice(0, 9)), textPart(film.slice(9))];
    expect(read(outputLine(responsesBody(parts)))).toEqual(good);
  });

  test('of responses leaves commentary out', () => {
    const body = responsesBody([], {
      output: [
        { type: 'message', phase: 'commentary', content: [textPart('Let me see.')] },
        { type: 'message', phase: 'final_answer', content: [textPart(film)] },
      ],
    });
    expect(read(outputLine(body))).toEqual(good);
  });

  test.each([
    ['the content comes in parts', outputLine(chatBody([{ type: 'text', text: film }]))],
    ['the status is missing', outputLine(chatBody(film), null)],
    ['the status is a string', outputLine(chatBody(film), '200')],
    ['the error is an empty object', outputLine(chatBody(film), 200, {})],
    ['the line begins with a byte order mark', `\ufeff${outputLine(chatBody(film))}`],
  ])('is taken where %s', (_what, line) => {
    expect(read(line)).toEqual(good);
  });

  test('without usage has a usage of null', () => {
    expect(read(outputLine({ ...chatBody(film), usage: null }))).toEqual({ ...good, usage: null });
  });
});

describe('the class of a failure', () => {
  const expired = { code: 'batch_expired', message: 'This request could not be executed.' };
  const cases: [string, string, string, string | null][] = [
    ['an expired request', errorLine(expired), 'batch_expired', 'batch_expired'],
    [
      'a cancelled request',
      errorLine({ code: 'batch_cancelled', message: 'x' }),
      'batch_cancelled',
      'batch_cancelled',
    ],
    [
      'a server error without a response',
      errorLine({ code: 'server_error', message: 'x' }),
      'server_error',
      'server_error',
    ],
    ['an error of a new kind', errorLine({ code: 'brand_new', message: 'x' }), 'unknown', 'brand_new'],
    ['an error that is text', errorLine('it broke'), 'unknown', null],
    [
      'an error beside a response',
      outputLine(chatBody(film), 200, expired),
      'batch_expired',
      'batch_expired',
    ],
    ['neither response nor error', errorLine(null), 'unknown', 'no_response'],
    [
      'status 400',
      withStatus(400, { code: 'invalid_value', message: 'x' }),
      'invalid_request',
      'invalid_value',
    ],
    [
      'status 400 with no code',
      withStatus(400, { code: null, type: 'invalid_request_error', message: 'x' }),
      'invalid_request',
      'invalid_request_error',
    ],
    [
      'status 400 by the filter',
      withStatus(400, { code: 'content_filter', message: 'x' }),
      'content_filter',
      'content_filter',
    ],
    [
      'status 400 for enqueued tokens',
      withStatus(400, { code: 'token_limit_exceeded', message: 'x' }),
      'rate_limited',
      'token_limit_exceeded',
    ],
    ['status 401', withStatus(401, { code: 'invalid_api_key', message: 'x' }), 'unknown', 'invalid_api_key'],
    ['status 408', withStatus(408, null), 'timeout', '408'],
    ['status 429', withStatus(429, { type: 'tokens', message: 'x' }), 'rate_limited', 'tokens'],
    [
      'status 429 without money',
      withStatus(429, { code: 'insufficient_quota', message: 'x' }),
      'quota_exhausted',
      'insufficient_quota',
    ],
    ['status 500', withStatus(500, { type: 'server_error', message: 'x' }), 'server_error', 'server_error'],
    ['status 503 without a body', outputLine(null, 503), 'server_error', '503'],
    ['status 0', outputLine(null, 0), 'server_error', '0'],
    [
      'a prototype\u2019s name as code',
      withStatus(500, { code: 'constructor', message: 'x' }),
      'server_error',
      'constructor',
    ],
    [
      'a 200 with an error inside',
      outputLine({ error: { code: 'rate_limit_exceeded', message: 'x' } }),
      'rate_limited',
      'rate_limit_exceeded',
    ],
    ['a 200 with nothing inside', outputLine({}), 'unknown', 'unexpected_body'],
    [
      'a refusal',
      outputLine(chatBody(null, { message: { content: null, refusal: 'I cannot.' } })),
      'refused',
      'refusal',
    ],
    [
      'a chat cut off',
      outputLine(chatBody('{"summary":"A th', { finish_reason: 'length' })),
      'truncated',
      'length',
    ],
    [
      'a chat cut off with a whole answer',
      outputLine(chatBody(film, { finish_reason: 'length' })),
      'truncated',
      'length',
    ],
    [
      'a chat filtered',
      outputLine(chatBody(film, { finish_reason: 'content_filter' })),
      'content_filter',
      'content_filter',
    ],
    ['a chat without choices', outputLine({ choices: [] }), 'invalid_json', 'empty_answer'],
    ['an answer of null', outputLine(chatBody(null)), 'invalid_json', 'empty_answer'],
    ['an answer of prose', outputLine(chatBody('Sure! Here it is.')), 'invalid_json', null],
    ['an answer of half a document', outputLine(chatBody(film.slice(0, -2))), 'invalid_json', null],
    ['an answer that lacks a property', outputLine(chatBody('{"summary":"x"}')), 'schema_mismatch', null],
    ['an answer that is an array', outputLine(chatBody('[]')), 'schema_mismatch', null],
    [
      'a response incomplete',
      outputLine(
        responsesBody([textPart('{')], {
          status: 'incomplete',
          incomplete_details: { reason: 'max_output_tokens' },
        }),
      ),
      'truncated',
      'max_output_tokens',
    ],
    [
      'a response incomplete without a message',
      outputLine(responsesBody([], { status: 'incomplete', incomplete_details: null, output: [] })),
      'truncated',
      'incomplete',
    ],
    [
      'a response filtered',
      outputLine(
        responsesBody([], { status: 'incomplete', incomplete_details: { reason: 'content_filter' } }),
      ),
      'content_filter',
      'content_filter',
    ],
    [
      'a response refused',
      outputLine(responsesBody([{ type: 'refusal', refusal: 'No.' }])),
      'refused',
      'refusal',
    ],
    [
      'a response failed',
      outputLine(responsesBody([], { status: 'failed', error: { code: 'server_error', message: 'x' } })),
      'server_error',
      'server_error',
    ],
    ['a response without a message', outputLine(responsesBody([])), 'invalid_json', 'empty_answer'],
  ];

  test.each(cases)('%s', (_what, line, errorClass, code) => {
    const outcome = read(line);
    expect(outcome).toMatchObject({ customId, ok: false, errorClass, code });
    expect((outcome as Extract<LineOutcome, { ok: false }>).message).not.toBe('');
  });

  test('a failed answer was paid for: its usage counts', () => {
    expect(read(outputLine(chatBody(null)))).toMatchObject({ ok: false, usage });
    expect(read(outputLine(responsesBody([])))).toMatchObject({ ok: false, usage });
  });

  test('a mismatch says where', () => {
    const outcome = read(outputLine(chatBody('{"summary":"x","categories":["a",5]}')));
    expect(outcome).toMatchObject({
      errorClass: 'schema_mismatch',
      message: expect.stringContaining('/categories/1'),
    });
  });

  test('of a line that names no request is unknown, and its id null', () => {
    const whole = outputLine(chatBody(film));
    for (const line of ['', 'x', '[]', 'null', whole.slice(0, 200), whole.slice(0, -1)]) {
      expect(read(line)).toMatchObject({
        customId: null,
        ok: false,
        errorClass: 'unknown',
        code: 'unparseable_line',
      });
    }
    expect(read(whole.replace('custom_id', 'other'))).toMatchObject({ customId: null, code: 'no_custom_id' });
  });

  test('comes with a message that a text column takes', () => {
    const outcome = read(
      withStatus(400, { code: 'a\0b'.repeat(100), message: `\0\ud83d${'\u{1f9df}'.repeat(5_000)}` }),
    );
    const { message, code } = outcome as Extract<LineOutcome, { ok: false }>;
    for (const text of [message, code ?? '']) {
      expect(text).not.toContain('\0');
      expect(text.isWellFormed()).toBe(true);
      expect(text.length).toBeLessThanOrEqual(500);
    }
  });
});

describe('a hostile line', () => {
  const unconvertible = { toString: 1, valueOf: 1 };
  const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
  const spliced = (line: string, text: string) => line.replace('"@@"', () => text);

  test.each([
    [
      'code',
      errorLine({ code: unconvertible, message: 'x' }),
      { errorClass: 'unknown', code: null, message: 'x' },
    ],
    ['code alone', errorLine({ code: unconvertible }), { errorClass: 'unknown', code: null }],
    [
      'type',
      withStatus(500, { type: unconvertible, message: 'x' }),
      { errorClass: 'server_error', code: '500' },
    ],
    [
      'array for a code',
      errorLine({ code: ['server_error'], message: 'x' }),
      { errorClass: 'unknown', code: null },
    ],
    ['status', outputLine(chatBody(film), unconvertible), { ok: true }],
    ['array for a status', outputLine(chatBody(film), [500]), { ok: true }],
  ])('may have an object in place of a value: %s', (_what, line, outcome) => {
    expect(read(line)).toMatchObject({ customId, ...outcome });
  });

  test.each([
    ['an error code', errorLine({ code: '@@', message: 'x' })],
    ['a status', outputLine(chatBody(film), '@@')],
    ['the content', outputLine(chatBody('@@'))],
    ['the usage', outputLine({ ...chatBody(film), usage: '@@' })],
    ['the line itself', `{"custom_id":"${customId}","response":"@@"}`],
  ])('may be nested 200,000 levels deep in %s, which fails its row', (_what, line) => {
    expect(read(spliced(line, deep))).toMatchObject({
      customId,
      ok: false,
      errorClass: 'invalid_json',
      code: 'nested_too_deep',
    });
  });

  test('of too many values fails its row', () => {
    const line = spliced(outputLine(chatBody(film), 200, '@@'), `[${'1,'.repeat(250_000)}1]`);
    expect(read(line)).toMatchObject({
      customId,
      ok: false,
      errorClass: 'invalid_json',
      code: 'too_many_values',
    });
  });

  test('may have an answer that is too deep, or of too many values, in text', () => {
    const readAny = compileOutcome(makeAnyDefinition('json_text'));
    const many = `[${'1,'.repeat(250_000)}1]`;
    for (const [document, code] of [
      [deep, 'nested_too_deep'],
      [many, 'too_many_values'],
    ] as const) {
      for (const answer of [document, JSON.stringify(document)]) {
        expect(readAny(outputLine(chatBody(`{"answer":${answer}}`)))).toMatchObject({
          customId,
          errorClass: 'type_mismatch',
          code,
          usage,
        });
      }
    }
  });

  test('may hold an answer in more parts than a call takes arguments', () => {
    const parts = [...Array(200_000).fill(0), textPart(film)];
    expect(read(outputLine(responsesBody(parts)))).toMatchObject({ ok: true });
    expect(read(outputLine(chatBody(parts)))).toMatchObject({ ok: true });
  });

  test('may have an id of any length, which is not kept', () => {
    for (const line of [outputLine(chatBody(film)), errorLine({ code: 'server_error' })]) {
      expect(read(line.replace(customId, 'c'.repeat(1_000_000)))).toMatchObject({
        customId: null,
        ok: false,
      });
    }
  });
});

describe('format text', () => {
  const readText = compileOutcome(
    makeDefinition({
      format: 'text',
      response_schema_text: null,
      outputs: [{ name: 'summary', encoding: 'value' }],
    }),
  );

  test.each(['plain', '{"not":"parsed"}', '', ' \n', 'a\u2028b \u{1f9df}'])(
    'the answer %j is the value',
    (text) => {
      expect(readText(outputLine(chatBody(text)))).toMatchObject({ ok: true, values: [text] });
    },
  );

  test.each(['a\0b', '\ud83d'])('the answer %j is one that no text column takes', (text) => {
    expect(readText(outputLine(chatBody(text)))).toMatchObject({ ok: false, errorClass: 'type_mismatch' });
  });
});

describe('values', () => {
  const readAny = compileOutcome(makeAnyDefinition());
  const readDocument = compileOutcome(makeAnyDefinition('json_text'));
  const answer = (json: string) => outputLine(chatBody(`{"answer":${json}}`));
  const sentOn = (outcome: LineOutcome) => (outcome.ok ? JSON.stringify(outcome.values) : outcome);

  test.each(['12345678901234567890', '0.1234567890123456789', '1e400', '[9007199254740993,1]'])(
    'the number %s is handed on digit for digit',
    (json) => {
      expect(sentOn(readAny(answer(json)))).toBe(`[${json}]`);
      expect(sentOn(readDocument(answer(JSON.stringify(json))))).toBe(`[${json}]`);
    },
  );

  test('a long number is still checked as a number', () => {
    const schema = '{"type":"object","properties":{"answer":{"type":"integer"}}}';
    const readInteger = compileOutcome({ ...makeAnyDefinition(), response_schema_text: schema });
    expect(sentOn(readInteger(answer('12345678901234567890')))).toBe('[12345678901234567890]');
    expect(readInteger(answer('0.1234567890123456789'))).toMatchObject({ errorClass: 'schema_mismatch' });
  });

  test('a property that the answer leaves out is null', () => {
    const definition = { ...makeAnyDefinition(), response_schema_text: '{"type":"object"}' };
    const outputs = ['answer', 'constructor', 'toString'].map((name) => ({
      name,
      encoding: 'value' as const,
    }));
    expect(compileOutcome({ ...definition, outputs })(outputLine(chatBody('{}')))).toMatchObject({
      values: [null, null, null],
    });
  });

  test.each(['"a\\u0000b"', '{"k":["\\u0000"]}', '{"\\u0000":1}', '"\\ud83d"'])(
    '%s fits no column',
    (json) => {
      expect(readAny(answer(json))).toMatchObject({ ok: false, errorClass: 'type_mismatch' });
    },
  );

  test('a document written as a string becomes a document', () => {
    expect(sentOn(readDocument(answer(JSON.stringify('{"b":1,"a":[null,"x"]}'))))).toBe(
      '[{"b":1,"a":[null,"x"]}]',
    );
    expect(sentOn(readDocument(answer('null')))).toBe('[null]');
    expect(sentOn(readDocument(answer('"null"')))).toBe('[null]');
  });

  test.each([
    ['text', JSON.stringify('not a document')],
    ['no string', '{"a":1}'],
    ['a null character one level down', JSON.stringify('["\\u0000"]')],
    ['a null character that hides its backslash', '"[\\"\\u005cu0000\\"]"'],
    ['a lone surrogate', JSON.stringify('["\\ud83d"]')],
  ])('a document that is %s fits no column', (_what, json) => {
    expect(readDocument(answer(json))).toMatchObject({ ok: false, errorClass: 'type_mismatch' });
  });
});

describe('compileOutcome', () => {
  test.each(['https://json-schema.org/draft/2020-12/schema', 'urn:unheard-of'])(
    'a schema may name %s',
    ($schema) => {
      const response_schema_text = JSON.stringify({
        $schema,
        type: 'object',
        properties: { summary: { format: 'date-time' } },
      });
      expect(
        compileOutcome(makeDefinition({ response_schema_text }))(outputLine(chatBody('{}'))),
      ).toMatchObject({ ok: true });
    },
  );

  test('a schema may refer to itself', () => {
    const response_schema_text = JSON.stringify({
      type: 'object',
      properties: { summary: { $ref: '#/$defs/node' } },
      $defs: {
        node: {
          type: 'object',
          properties: { next: { anyOf: [{ $ref: '#/$defs/node' }, { type: 'null' }] } },
        },
      },
    });
    const readNode = compileOutcome(makeDefinition({ response_schema_text }));
    const deep = `${'{"next":'.repeat(10_000)}null${'}'.repeat(10_000)}`;
    expect(readNode(outputLine(chatBody('{"summary":{"next":{"next":null}}}')))).toMatchObject({ ok: true });
    expect(readNode(outputLine(chatBody(`{"summary":${deep}}`)))).toMatchObject({
      errorClass: 'type_mismatch',
    });
  });

  test.each([null, '', '[]', '{"type":"no such type"}', '{"$ref":"#/nowhere"}'])(
    'the schema %j is refused',
    (text) => {
      expect(() => compileOutcome(makeDefinition({ response_schema_text: text }))).toThrow(
        expect.objectContaining({ code: 'pipeline_schema_invalid' }) as Error,
      );
    },
  );
});
