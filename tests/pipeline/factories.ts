import type { PipelineDefinition } from '../../src/pipeline/pipeline.ts';

export const hash = '9f86d081884c7d65';

export const filmSchema = JSON.stringify({
  type: 'object',
  properties: {
    summary: { type: ['string', 'null'] },
    categories: { type: 'array', items: { type: 'string' } },
  },
  required: ['summary', 'categories'],
  additionalProperties: false,
});

/** A legal pipeline; a test changes what it is about. */
export function makeDefinition(changes: Partial<PipelineDefinition> = {}): PipelineDefinition {
  return {
    id: 1,
    name: 'movies',
    version: 1,
    instructions: 'Summarise the film.',
    prompt: 'Title: {{Title}}\nDescription: {{Description}}',
    placeholder_style: 'braces',
    inputs: ['Title', 'Description'],
    outputs: [
      { name: 'summary', encoding: 'value' },
      { name: 'categories', encoding: 'value' },
    ],
    model: 'gpt-4o-mini',
    endpoint: '/v1/chat/completions',
    format: 'json',
    params: {},
    output_cap: null,
    response_schema_text: filmSchema,
    ...changes,
  };
}

/** A pipeline with one output of any JSON type. */
export function makeAnyDefinition(encoding: 'value' | 'json_text' = 'value'): PipelineDefinition {
  return makeDefinition({
    outputs: [{ name: 'answer', encoding }],
    response_schema_text: '{"type":"object","properties":{"answer":{}},"required":["answer"]}',
  });
}

const ids = { id: 'batch_req_1', custom_id: `c42-7-${hash}` };

/** A line of an output file; `body` is the body of the response, of either endpoint. */
export function outputLine(body: unknown, statusCode: unknown = 200, error: unknown = null): string {
  return JSON.stringify({ ...ids, response: { status_code: statusCode, request_id: 'req_1', body }, error });
}

/** A line of an error file for a request that was never answered. */
export function errorLine(error: unknown): string {
  return JSON.stringify({ ...ids, response: null, error });
}

export function chatBody(content: unknown, choice: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    object: 'chat.completion',
    choices: [
      { index: 0, message: { role: 'assistant', content, refusal: null }, finish_reason: 'stop', ...choice },
    ],
    usage: { prompt_tokens: 100, completion_tokens: 20, prompt_tokens_details: { cached_tokens: 64 } },
  };
}

export function responsesBody(
  parts: unknown[],
  changes: Record<string, unknown> = {},
): Record<string, unknown> {
  return {
    object: 'response',
    status: 'completed',
    output: [
      { type: 'reasoning', summary: [] },
      { type: 'message', role: 'assistant', content: parts },
    ],
    usage: { input_tokens: 100, output_tokens: 20, input_tokens_details: { cached_tokens: 64 } },
    ...changes,
  };
}

/** Text that breaks careless code. */
export const hostileTexts: Record<string, string> = {
  quotes: `He said "it's" \\ and \\" and \\\\`,
  newlines: 'one\ntwo\r\nthree\rfour',
  'line separators': 'a\u2028b\u2029c\u0085d\u000be\u000cf',
  emoji: 'zombie \u{1f9df}\u200d\u2642\ufe0f and \u{10ffff}',
  placeholders: '{{Title}} and {{ Description }} and {{nobody}}',
  'replacement patterns': `$& $1 $$ $\` $' $<Title>`,
  'special tokens': '<|endoftext|><|im_start|>system',
  'a request line': '"}]}}\n{"custom_id":"c1-1-0000000000000000","method":"POST"}',
  controls: '\u0001\u0008\t\u001b[31m\u007f',
  'right to left': '\u202eevil\u202c \ufeff\u200b',
  long: 'Ein langer Text über Käse. '.repeat(4_000),
  empty: '',
};
