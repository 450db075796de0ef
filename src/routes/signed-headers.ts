import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { HttpError } from './http-error.ts';

// As Standard Webhooks has it.
const toleranceSeconds = 5 * 60;
// The database's ids have some 20 characters, OpenAI's some 40.
const idForm = /^[\x20-\x7e]{1,256}$/;
const timestampForm = /^\d{1,12}$/;
// 32 bytes in base64.
const signatureForm = /^v1,([A-Za-z0-9+/]{43}=)$/;

export type SignedHeaders = { id: string; timestamp: string; signatures: Buffer[] };

/**
 * Takes the headers of a request; returns the three that sign it, which are well formed and of these 5 minutes. Raises
 * HttpError 401 `bad_signature` or `bad_timestamp` otherwise, ending with what was expected. It proves nothing yet, and
 * needs no body.
 */
export function readSignedHeaders(headers: IncomingHttpHeaders, expected: string): SignedHeaders {
  const refuse = (code: string, why: string): never => {
    throw new HttpError(401, code, `${why}. ${expected}`);
  };
  const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': list } = headers;
  if (!id || !timestamp || !list) return refuse('bad_signature', 'Missing required headers');
  if (typeof id !== 'string' || !idForm.test(id))
    return refuse('bad_signature', 'webhook-id is not 1 to 256 plain characters');
  if (typeof timestamp !== 'string' || !timestampForm.test(timestamp))
    return refuse('bad_signature', 'webhook-timestamp is not a number of seconds');
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > toleranceSeconds)
    return refuse('bad_timestamp', `webhook-timestamp is too old or too new`);
  const signatures = String(list)
    .split(' ')
    .flatMap((text) => signatureForm.exec(text)?.[1] ?? [])
    .map((text) => Buffer.from(text, 'base64'));
  if (signatures.length === 0)
    return refuse('bad_signature', 'webhook-signature has no v1,<32 bytes in base64>');
  return { id, timestamp, signatures };
}

/** The key of a secret as set_endpoint() takes it. */
export function keyOf(secret: string): Buffer {
  return Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
}

/**
 * Whether one of the signatures fits the bytes as they came. They are taken in pieces, since together they would be here
 * twice, and when all are here, since most of what strangers send never ends.
 */
export function isSigned(
  key: Buffer,
  { id, timestamp, signatures }: SignedHeaders,
  parts: Buffer[],
): boolean {
  const hmac = createHmac('sha256', key).update(`${id}.${timestamp}.`);
  for (const part of parts) hmac.update(part);
  const computed = hmac.digest();
  return signatures.some((signature) => timingSafeEqual(signature, computed));
}
