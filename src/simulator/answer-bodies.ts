import { unixSeconds } from './ids.ts';
import type { Endpoint } from './request.ts';
import type { Tokens } from './tokens.ts';

/** What the model said, and why it stopped. A refusal stands in the place of the text. */
export type Said = {
  text: string;
  isRefusal: boolean;
  finish: 'stop' | 'length' | 'content_filter';
};

export type NewId = (prefix: string) => string;

/** The body of an answer as JSON text, in the form of its endpoint; put together once and written as it is. */
export function answerBody(
  endpoint: Endpoint,
  newId: NewId,
  model: string,
  said: Said,
  paid: Tokens,
): string {
  const make = endpoint === '/v1/responses' ? responseBody : chatBody;
  return make(newId, model, said, paid);
}

function chatBody(newId: NewId, model: string, said: Said, paid: Tokens): string {
  const { inputTokens: input, cachedTokens: cached, outputTokens: output } = paid;
  const text = JSON.stringify(said.text);
  const [content, refusal] = said.isRefusal ? ['null', text] : [text, 'null'];
  return (
    `{"id":"${newId('chatcmpl-')}","object":"chat.completion","created":${unixSeconds()},` +
    `"model":${JSON.stringify(model)},"choices":[{"index":0,"message":{"role":"assistant","content":${content},` +
    `"refusal":${refusal},"annotations":[]},"logprobs":null,"finish_reason":"${said.finish}"}],` +
    `"usage":{"prompt_tokens":${input},"completion_tokens":${output},"total_tokens":${input + output},` +
    `"prompt_tokens_details":{"cached_tokens":${cached},"audio_tokens":0},"completion_tokens_details":{` +
    `"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},` +
    `"service_tier":"default","system_fingerprint":"fp_simulator"}`
  );
}

const incomplete = {
  stop: 'null',
  length: '{"reason":"max_output_tokens"}',
  content_filter: '{"reason":"content_filter"}',
};

function responseBody(newId: NewId, model: string, said: Said, paid: Tokens): string {
  const { inputTokens: input, cachedTokens: cached, outputTokens: output } = paid;
  const status = said.finish === 'stop' ? 'completed' : 'incomplete';
  const text = JSON.stringify(said.text);
  const part = said.isRefusal
    ? `{"type":"refusal","refusal":${text}}`
    : `{"type":"output_text","annotations":[],"logprobs":[],"text":${text}}`;
  return (
    `{"id":"${newId('resp_')}","object":"response","created_at":${unixSeconds()},"status":"${status}",` +
    `"background":false,"error":null,` +
    `"incomplete_details":${incomplete[said.finish]},"instructions":null,` +
    `"max_output_tokens":null,"model":${JSON.stringify(model)},"output":[{"id":"${newId('msg_')}",` +
    `"type":"message","status":"${status}","role":"assistant","content":[${part}]}],"parallel_tool_calls":true,` +
    `"previous_response_id":null,"reasoning":{"effort":null,"summary":null},"service_tier":"default",` +
    `"store":true,"temperature":1,"tool_choice":"auto","tools":[],"top_p":1,"truncation":"disabled",` +
    `"usage":{"input_tokens":${input},"input_tokens_details":{"cached_tokens":${cached}},"output_tokens":${output},` +
    `"output_tokens_details":{"reasoning_tokens":0},"total_tokens":${input + output}},"user":null,"metadata":{}}`
  );
}
