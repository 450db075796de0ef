import type OpenAI from 'openai';
import { ProviderError } from '../errors.ts';
import { boundedFetch, type Fetch } from './bounded-fetch.ts';
import { failureKind } from './failure-kind.ts';
import { openAiError } from './openai-error.ts';

export type CallOptions = {
  signal?: AbortSignal | undefined;
  /** How long the whole call may take; the provider's own time without it. */
  timeoutMs?: number;
  /** Leaves the body of a good answer unread; it is cut off when `signal` is aborted. */
  keepsBody?: boolean;
};
/** What a call may use, and has to stop by. */
export type Send<Value> = (client: OpenAI, signal: AbortSignal) => Promise<Value>;
export type Call = <Value>(doing: string, options: CallOptions, send: Send<Value>) => Promise<Value>;

/**
 * Takes a client of the SDK; returns what makes its calls. Each call has one deadline: for its headers and its body, and
 * for the SDK's repetitions of it together. It rejects with a ProviderError and nothing else.
 */
export function createCalls(
  client: OpenAI,
  given: { apiKey: string; timeoutMs: number; fetch: Fetch },
): Call {
  return async (doing, { signal, timeoutMs = given.timeoutMs, keepsBody = false }, send) => {
    const own = new AbortController();
    const ended = Promise.withResolvers<never>();
    const end = (problem: string, status: number | null, isUnusable: boolean): ProviderError => {
      const kind = failureKind({ status, code: null, causeCode: null });
      const error = new ProviderError(`${doing}: ${problem}`, { kind, status, isUnusable });
      ended.reject(error);
      // Otherwise the SDK would repeat it.
      own.abort();
      return error;
    };
    const timer = setTimeout(
      () => end(`no whole answer within ${timeoutMs / 1000} s`, null, false),
      timeoutMs,
    );
    const bounded = client.withOptions({
      fetch: boundedFetch(given.fetch, (problem, status) => end(problem, status, true), keepsBody),
      timeout: timeoutMs,
    });
    try {
      const whole = signal === undefined ? own.signal : AbortSignal.any([signal, own.signal]);
      return await Promise.race([send(bounded, whole), ended.promise]);
    } catch (error) {
      throw openAiError(error, doing, given.apiKey);
    } finally {
      clearTimeout(timer);
    }
  };
}
