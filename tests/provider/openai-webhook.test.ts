import { createHmac } from 'node:crypto';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { RowmillError } from '../../src/errors.ts';
import { createOpenAiProvider } from '../../src/provider/openai.ts';
import { type SignedWebhook, signedWebhook, webhookSecret } from '../support/signed-webhook.ts';

describe('readWebhook', () => {
  afterEach(() => vi.unstubAllEnvs());
  const read = ({ payload, headers }: SignedWebhook, secret: string | undefined = webhookSecret) =>
    createOpenAiProvider({
      apiKey: 'sk-test',
      webhookSecret: secret,
      fetch: () => expect.fail('it asked somebody'),
    }).readWebhook(payload, headers);

  async function refusalOf(reading: Promise<unknown>): Promise<RowmillError> {
    const error = await reading.then(
      (event) => new Error(`it was taken: ${JSON.stringify(event)}`),
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(RowmillError);
    return error as RowmillError;
  }

  test('an event that was signed comes as it was sent', async () => {
    expect(await read(signedWebhook('batch_1', { type: 'batch.expired' }))).toEqual({
      ...{ id: 'evt_1', object: 'event', created_at: 1_700_000_000 },
      ...{ type: 'batch.expired', data: { id: 'batch_1' } },
    });
  });

  test('one of several signatures is enough: a secret is being replaced', async () => {
    const signed = signedWebhook('batch_1');
    const old = `v1,${Buffer.alloc(32, 1).toString('base64')}`;
    const headers = {
      ...signed.headers,
      'webhook-signature': `${old} ${signed.headers['webhook-signature']}`,
    };
    expect(await read({ ...signed, headers })).toMatchObject({ type: 'batch.completed' });
  });

  test('a body is read only once it is known to be signed', async () => {
    const bad = signedWebhook('', { body: 'no json' });
    expect(await refusalOf(read(bad))).toMatchObject({ code: 'invalid_json' });
    const headers = { ...bad.headers, 'webhook-signature': 'v1,AAAA' };
    expect(await refusalOf(read({ ...bad, headers }))).toMatchObject({ code: 'bad_signature' });
  });

  test('another text of the same event is not what was signed', async () => {
    const signed = signedWebhook('batch_1');
    const payload = JSON.stringify(JSON.parse(signed.payload), null, 1);
    expect(await refusalOf(read({ ...signed, payload }))).toMatchObject({ code: 'bad_signature' });
  });

  test.each([301, -301])('one of %i seconds ago is refused', async (seconds) => {
    const at = new Date(Date.now() - seconds * 1000 - Math.sign(seconds) * 1000);
    expect(await refusalOf(read(signedWebhook('batch_1', { at })))).toMatchObject({ code: 'bad_signature' });
  });

  test.each(['webhook-id', 'webhook-timestamp', 'webhook-signature'])(
    'without %s it is refused',
    async (name) => {
      for (const value of [undefined, '']) {
        const signed = signedWebhook('batch_1', name === 'webhook-id' ? { id: '' } : {});
        const headers = { ...signed.headers, [name]: value } as Record<string, string>;
        expect(await refusalOf(read({ ...signed, headers }))).toMatchObject({ code: 'bad_signature' });
      }
    },
  );

  test('one that was signed without an id is refused: by its id a repetition is known', async () => {
    const { payload, headers } = signedWebhook('batch_1');
    const signature = createHmac('sha256', Buffer.from(webhookSecret.slice(6), 'base64'))
      .update(`${headers['webhook-timestamp']}.${payload}`)
      .digest('base64');
    const signed = { ...headers, 'webhook-id': '', 'webhook-signature': `v1,${signature}` };
    expect(await refusalOf(read({ payload, headers: signed }))).toMatchObject({ code: 'bad_signature' });
  });

  test('without a secret none is taken, whatever the environment holds', async () => {
    vi.stubEnv('OPENAI_WEBHOOK_SECRET', webhookSecret);
    const provider = createOpenAiProvider({ apiKey: 'sk-test' });
    const { payload, headers } = signedWebhook('batch_1');
    expect(await refusalOf(provider.readWebhook(payload, headers))).toMatchObject({ code: 'no_secret' });
  });

  test('a refusal shows no secret', async () => {
    const error = await refusalOf(read(signedWebhook('batch_1', { secret: 'whsec_c3RyYW5nZXI=' })));
    expect(`${error.message} ${JSON.stringify(error)}`).not.toContain(webhookSecret.slice(6));
  });
});
