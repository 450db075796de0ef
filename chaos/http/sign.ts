import { createHmac } from 'node:crypto';

export const ingestSecret = `whsec_${Buffer.from('the fuzz secret of 32 bytes ....').toString('base64')}`;
export const webhookSecret = `whsec_${Buffer.from('another fuzz secret, 32 bytes ..').toString('base64')}`;

export type Headers = [string, string][];

/** The three headers of Standard Webhooks, by the secret. */
export function sign(
  secret: string,
  id: string,
  body: Buffer,
  seconds = Math.floor(Date.now() / 1000),
): Headers {
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
  const signature = createHmac('sha256', key).update(`${id}.${seconds}.`).update(body).digest('base64');
  return [
    ['webhook-id', id],
    ['webhook-timestamp', String(seconds)],
    ['webhook-signature', `v1,${signature}`],
  ];
}
