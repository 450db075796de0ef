import type OpenAI from 'openai';
import { messageOf, RowmillError } from '../errors.ts';
import type { WebhookHeaders } from './provider.ts';

/** `readWebhook` of the Provider interface, over the SDK's own helper. */
export async function readOpenAiWebhook(
  client: OpenAI,
  secret: string | undefined,
  body: string,
  headers: WebhookHeaders,
): Promise<unknown> {
  if (secret === undefined) {
    throw new RowmillError(
      'no_secret',
      'The worker has no OPENAI_WEBHOOK_SECRET, so it takes no webhooks; set it to the one that OpenAI showed for this endpoint.',
    );
  }
  try {
    // The SDK lets an empty one pass, and by it a repetition is known.
    if (!headers['webhook-id']) throw new Error('Missing required header: webhook-id');
    return await client.webhooks.unwrap(body, headers, secret);
  } catch (cause) {
    // The SDK parses only what it has found to be signed.
    if (cause instanceof SyntaxError) {
      throw new RowmillError('invalid_json', `The body is not JSON: ${messageOf(cause)}`, { cause });
    }
    // One class for a signature that does not fit, plain errors for a header that is missing: none of them is proof.
    const expected =
      'Expected webhook-id, a webhook-timestamp within 5 minutes, and webhook-signature over "id.timestamp.body" with OPENAI_WEBHOOK_SECRET.';
    throw new RowmillError('bad_signature', `${messageOf(cause)}. ${expected}`, { cause });
  }
}
