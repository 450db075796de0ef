import { answer } from './answer.ts';
import { digestOf } from './digest.ts';
import { ApiError } from './errors.ts';
import { cutTo, Facts } from './facts.ts';
import { unixSeconds } from './ids.ts';
import { datedModel, modelExists } from './models.ts';
import { type Endpoint, type Json, type ReadRequest, readRequest } from './request.ts';

/** What became of a request. `body` is JSON text, put together once and written as it is. */
export type Outcome = {
  status: number;
  body: string;
  promptDigest: number;
  inputTokens: number;
  outputTokens: number;
};

/** What became of a request that no HTTP answer tells about: the line's own error, and no response. */
export type BareError = { code: string; message: string };

/** Executes a request as the model would; a refusal is an outcome with its status, never an exception. */
export function executeRequest(endpoint: Endpoint, body: Json, newId: (prefix: string) => string): Outcome {
  try {
    const request = readRequest(endpoint, body);
    if (!modelExists(request.model)) {
      const text = `The model '${request.model}' does not exist or you do not have access to it.`;
      throw new ApiError(400, text, { code: 'model_not_found' });
    }
    return succeed(endpoint, request, newId);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return refusal(error);
  }
}

/** The outcome of a request that an error answers; it is not paid for. */
export function refusal(error: ApiError): Outcome {
  const body = JSON.stringify(error.toBody());
  return { status: error.status, body, promptDigest: 0, inputTokens: 0, outputTokens: 0 };
}

function succeed(endpoint: Endpoint, request: ReadRequest, newId: (prefix: string) => string): Outcome {
  const { prompt, userText, schemaText, outputLimit } = request;
  const promptDigest = digestOf(prompt);
  // The digest of the whole prompt is that of the answer as well: one pass over a long text, not two.
  const whole = answerOrRefuse(new Facts(userText, promptDigest), schemaText);
  // Some four characters make a token; the schema counts, being shown to the model.
  const inputTokens = 8 + Math.ceil((prompt.length + (schemaText?.length ?? 0)) / 4);
  const wanted = Math.ceil(whole.length / 4);
  const isCut = outputLimit !== null && wanted > outputLimit;
  const outputTokens = isCut ? outputLimit : wanted;
  const content = JSON.stringify(isCut ? cutTo(whole, Math.max(0, outputLimit * 4)) : whole);
  const make = endpoint === '/v1/responses' ? responseBody : chatBody;
  const body = make(newId, datedModel(request.model), content, isCut, inputTokens, outputTokens);
  return { status: 200, body, promptDigest, inputTokens, outputTokens };
}

// A schema that nothing can satisfy, or that is none, is the request's fault and not the simulator's.
function answerOrRefuse(facts: Facts, schemaText: string | null): string {
  try {
    return answer(facts, schemaText);
  } catch (error) {
    throw new ApiError(400, `Invalid schema: ${(error as Error).message}`, { param: 'response_format' });
  }
}

function chatBody(
  newId: (prefix: string) => string,
  model: string,
  content: string,
  isCut: boolean,
  input: number,
  output: number,
): string {
  return (
    `{"id":"${newId('chatcmpl-')}","object":"chat.completion","created":${unixSeconds()},` +
    `"model":${JSON.stringify(model)},"choices":[{"index":0,"message":{"role":"assistant","content":${content},` +
    `"refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"${isCut ? 'length' : 'stop'}"}],` +
    `"usage":{"prompt_tokens":${input},"completion_tokens":${output},"total_tokens":${input + output},` +
    `"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{` +
    `"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},` +
    `"service_tier":"default","system_fingerprint":"fp_simulator"}`
  );
}

function responseBody(
  newId: (prefix: string) => string,
  model: string,
  content: string,
  isCut: boolean,
  input: number,
  output: number,
): string {
  const status = isCut ? 'incomplete' : 'completed';
  return (
    `{"id":"${newId('resp_')}","object":"response","created_at":${unixSeconds()},"status":"${status}",` +
    `"background":false,"error":null,` +
    `"incomplete_details":${isCut ? '{"reason":"max_output_tokens"}' : 'null'},"instructions":null,` +
    `"max_output_tokens":null,"model":${JSON.stringify(model)},"output":[{"id":"${newId('msg_')}",` +
    `"type":"message","status":"${status}","role":"assistant","content":[{"type":"output_text",` +
    `"annotations":[],"logprobs":[],"text":${content}}]}],"parallel_tool_calls":true,` +
    `"previous_response_id":null,"reasoning":{"effort":null,"summary":null},"service_tier":"default",` +
    `"store":true,"temperature":1,"tool_choice":"auto","tools":[],"top_p":1,"truncation":"disabled",` +
    `"usage":{"input_tokens":${input},"input_tokens_details":{"cached_tokens":0},"output_tokens":${output},` +
    `"output_tokens_details":{"reasoning_tokens":0},"total_tokens":${input + output}},"user":null,"metadata":{}}`
  );
}
