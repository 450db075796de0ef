import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Service } from '../../src/service.ts';
import { createFilmsPipeline } from '../support/films.ts';
import { settled, startWorker, startWorld, type World, waitFor } from '../support/service.ts';
import { signedWebhook, webhookSecret } from '../support/signed-webhook.ts';

const never = '0 0 1 1 *';

describe('a worker that polls only when a webhook says so', () => {
  let world: World;
  const others: Service[] = [];
  beforeEach(async () => {
    world = await startWorld({
      // The look that follows a submission comes before the batch has ended.
      simulator: { delays: { validatingMs: 1500 } },
      env: { ROWMILL_POLL_CRON: never, OPENAI_WEBHOOK_SECRET: webhookSecret },
    });
    await world.sql`update rowmill.settings set poll_every = '1 day'`;
    await createFilmsPipeline(world.sql);
  });
  afterEach(async () => {
    for (const other of others.splice(0)) await other.stop();
    await world.stop();
  });

  const hook = (service: Service) => `${service.url}/v1/webhooks/openai`;
  const insert = (count: number) =>
    world.sql`insert into films (title) select 'Film ' || n from generate_series(1, ${count}) as n`;
  const enriched = async () =>
    Number((await world.sql`select count(*) from films where summary is not null`)[0]!.count);
  /** The batch, once it has been looked at, and has ended since. */
  const endedUnseen = async () =>
    await waitFor('the batch has ended and nobody knows', async () => {
      const [batch] = await world.sql`
        select provider_batch_id as id from rowmill.batch_processing_details
        where state = 'running' and polled_at is not null and poll_at > now() + interval '12 hours'`;
      const known = world.simulator.batches().find(({ id }) => id === batch?.id);
      return known?.status === 'completed' && (batch!.id as string);
    });

  it('brings a batch home on the provider’s word', async () => {
    world.simulator.sendWebhooks({ url: hook(world.service), secret: webhookSecret });
    await insert(30);
    await settled(world.sql, 'films');
    expect(await enriched()).toBe(30);
    expect(world.simulator.webhooks()).toMatchObject([{ type: 'batch.completed', statuses: [200] }]);
    expect(world.simulator.ledger.unexplainedRepeats).toBe(0);
  });

  it('leaves it where it is without one, and with a forged one', async () => {
    await insert(30);
    const id = await endedUnseen();
    const post = async (secret: string) => {
      const { payload, headers } = signedWebhook(id, { secret });
      return (await fetch(hook(world.service), { method: 'POST', body: payload, headers })).status;
    };
    expect(await post(`whsec_${Buffer.from('a stranger of thirty bytes ...').toString('base64')}`)).toBe(401);
    expect(await endedUnseen()).toBe(id);
    expect(await enriched()).toBe(0);
    expect(await post(webhookSecret)).toBe(200);
    await settled(world.sql, 'films');
    expect(await enriched()).toBe(30);
  });

  it('may be another one than the one that submitted, and the webhook may come again and again', async () => {
    const env = { ROWMILL_TICK_CRON: never, ROWMILL_POLL_CRON: never, OPENAI_WEBHOOK_SECRET: webhookSecret };
    for (let i = 0; i < 2; i++) others.push(await startWorker(world.databaseUrl, world.simulator.url, env));
    await insert(30);
    const id = await endedUnseen();
    const answers = await Promise.all(
      [...others, ...others, ...others].map(async (service) => {
        const { payload, headers } = signedWebhook(id);
        const response = await fetch(hook(service), { method: 'POST', body: payload, headers });
        return ((await response.json()) as { status: string }).status;
      }),
    );
    expect(answers.sort()).toEqual(['due', 'known', 'known', 'known', 'known', 'known']);
    await settled(world.sql, 'films');
    expect(await enriched()).toBe(30);
    expect(world.simulator.ledger).toMatchObject({ executed: 30, unexplainedRepeats: 0 });
  });

  it('brings it home on a redelivery where no worker was there at first', async () => {
    // Where nobody listens yet: a worker that is being replaced.
    const [other] = [
      await startWorker(world.databaseUrl, world.simulator.url, {
        ROWMILL_TICK_CRON: never,
        ROWMILL_POLL_CRON: never,
      }),
    ];
    const { port } = new URL(other.url);
    await other.stop();
    world.simulator.sendWebhooks({
      url: hook({ url: other.url } as Service),
      secret: webhookSecret,
      retryMs: 50,
    });
    await insert(30);
    await waitFor(
      'a delivery has failed',
      async () => (world.simulator.webhooks()[0]?.statuses.length ?? 0) > 0,
    );
    others.push(
      await startWorker(world.databaseUrl, world.simulator.url, {
        PORT: port,
        ROWMILL_TICK_CRON: never,
        ROWMILL_POLL_CRON: never,
        OPENAI_WEBHOOK_SECRET: webhookSecret,
      }),
    );
    await settled(world.sql, 'films');
    expect(world.simulator.webhooks()[0]!.statuses[0]).toBe(0);
    expect(world.simulator.webhooks()[0]!.statuses.at(-1)).toBe(200);
    expect(await enriched()).toBe(30);
  });
});
