import { Webhook } from 'standardwebhooks';

export const webhookSecret = `whsec_${Buffer.from('another secret of thirty bytes').toString('base64')}`;

export type SignedWebhook = { payload: string; headers: Record<string, string> };

/** An event as OpenAI sends it, signed by a library that neither the worker nor the simulator uses for that. */
export function signedWebhook(
  batchId: string,
  options: { id?: string; type?: string; at?: Date; secret?: string; body?: string } = {},
): SignedWebhook {
  const { id = 'wh_1', type = 'batch.completed', at = new Date(), secret = webhookSecret } = options;
  const event = { id: 'evt_1', object: 'event', created_at: 1_700_000_000, type, data: { id: batchId } };
  const payload = options.body ?? JSON.stringify(event);
  return {
    payload,
    headers: {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
      'webhook-signature': new Webhook(secret).sign(id, at, payload),
    },
  };
}
