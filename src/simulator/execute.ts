import { answer } from './answer.ts';
import { answerBody, type NewId, type Said } from './answer-bodies.ts';
import { type AnswerFlaw, flawed } from './answer-flaws.ts';
import { digestOf } from './digest.ts';
import { ApiError } from './errors.ts';
import { cutTo, Facts } from './facts.ts';
import { datedModel, modelExists } from './models.ts';
import { type Endpoint, type Json, type ReadRequest, readRequest } from './request.ts';
import { inputTokensOf, noTokens, type Tokens, tokensIn } from './tokens.ts';

/** What became of a request. `body` is JSON text, put together once and written as it is. */
export type Outcome = Tokens & {
  status: number;
  body: string;
  promptDigest: number;
  /** A flaw that was asked for keeps the client from using the answer, which is paid for. */
  isFlawed: boolean;
};

/** What became of a request that no HTTP answer tells about: the line's own error, and no response. */
export type BareError = { code: string; message: string };

export type Manner = {
  /** What is to be wrong with the answer; nothing. */
  flaw?: AnswerFlaw | undefined;
  /** The part of the input that usage tells as cached; 0. */
  cachedShare?: number;
};

/** Executes a request as the model would; a refusal is an outcome with its status, never an exception. */
export function executeRequest(endpoint: Endpoint, body: Json, newId: NewId, manner: Manner = {}): Outcome {
  try {
    const request = readRequest(endpoint, body);
    if (!modelExists(request.model)) {
      const text = `The model '${request.model}' does not exist or you do not have access to it.`;
      throw new ApiError(400, text, { code: 'model_not_found' });
    }
    return succeed(endpoint, request, newId, manner);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return refusal(error);
  }
}

/** The outcome of a request that an error answers; it is not paid for. */
export function refusal(error: ApiError): Outcome {
  return unpaid(error.status, JSON.stringify(error.toBody()));
}

export function unpaid(status: number, body: string): Outcome {
  return { status, body, promptDigest: 0, isFlawed: false, ...noTokens };
}

function succeed(endpoint: Endpoint, request: ReadRequest, newId: NewId, manner: Manner): Outcome {
  const { prompt, userText, schemaText, outputLimit } = request;
  const { flaw, cachedShare = 0 } = manner;
  const promptDigest = digestOf(prompt);
  // The digest of the whole prompt is that of the answer as well: one pass over a long text, not two.
  const facts = new Facts(userText, promptDigest);
  const proper = answerOrRefuse(facts, schemaText);
  const said = flaw ? flawed(flaw, proper, facts, schemaText) : limited(proper, outputLimit);
  const inputTokens = inputTokensOf(request);
  const wanted = tokensIn(said.text.length);
  const paid: Tokens = {
    inputTokens,
    cachedTokens: Math.floor(inputTokens * cachedShare),
    outputTokens: outputLimit === null ? wanted : Math.min(wanted, outputLimit),
  };
  const body = answerBody(endpoint, newId, datedModel(request.model), said, paid);
  // Where the flaw changed nothing (prose for prose), the client lost nothing.
  const isFlawed = flaw !== undefined && (said.finish !== 'stop' || said.text !== proper);
  return { status: 200, body, promptDigest, isFlawed, ...paid };
}

function limited(proper: string, outputLimit: number | null): Said {
  if (outputLimit === null || tokensIn(proper.length) <= outputLimit)
    return { text: proper, isRefusal: false, finish: 'stop' };
  return { text: cutTo(proper, Math.max(0, outputLimit * 4)), isRefusal: false, finish: 'length' };
}

// A schema that nothing can satisfy, or that is none, is the request's fault and not the simulator's.
function answerOrRefuse(facts: Facts, schemaText: string | null): string {
  try {
    return answer(facts, schemaText);
  } catch (error) {
    throw new ApiError(400, `Invalid schema: ${(error as Error).message}`, { param: 'response_format' });
  }
}
