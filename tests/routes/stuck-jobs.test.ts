import fastify from 'fastify';
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod';
import pino from 'pino';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { healthRoutes } from '../../src/routes/health.ts';
import { createStore } from '../../src/store/store.ts';
import { notingTransport } from '../store/noting-transport.ts';
import { FakeProvider } from '../support/fake-provider.ts';
import { startWorld, waitFor } from '../support/service.ts';

describe('/healthz of a worker', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it('looks twice before it says that jobs are stuck, and names them', async () => {
    let problems: string[] = [];
    let isBehind = true;
    const app = fastify().setValidatorCompiler(validatorCompiler).setSerializerCompiler(serializerCompiler);
    await app.register(healthRoutes, {
      deps: {
        store: createStore(notingTransport().transport, 'w', 'test'),
        provider: new FakeProvider(),
        logger: pino({ level: 'silent' }),
      },
      vitals: {
        problems: () => {
          // Its timers are due, and come when this turn is over.
          setTimeout(() => {
            isBehind = false;
          }, 1);
          return isBehind ? ['tick has not run for 60 s'] : problems;
        },
        outage: () => null,
      },
    });
    expect((await app.inject('/healthz')).statusCode).toBe(200);
    problems = ['a', 'b'];
    const stuck = await app.inject('/healthz');
    expect(stuck.statusCode).toBe(503);
    expect(stuck.json()).toEqual({
      error: { code: 'jobs_stuck', message: 'Start the worker again: a; b.' },
    });
    await app.close();
  });

  it('says that a run does not end, and is well when it has', async () => {
    const world = await startWorld();
    const health = async () => await fetch(`${world.service.url}/healthz`);
    try {
      expect((await health()).status).toBe(200);
      await world.sql.begin(async (tx) => {
        await tx`lock table rowmill.locks in access exclusive mode`;
        await waitFor('a tick waits for the lock', async () => {
          const rows = await world.sql`
            select from pg_stat_activity where wait_event_type = 'Lock' and query like '%tick%'`;
          return rows.length > 0;
        });
        vi.useFakeTimers({ toFake: ['performance'] });
        vi.advanceTimersByTime(31 * 60_000);
        const stuck = await health();
        expect(stuck.status).toBe(503);
        expect(await stuck.text()).toContain('tick has been running for 31 minutes');
      });
      vi.useRealTimers();
      await waitFor('it is well', async () => (await health()).status === 200);
    } finally {
      await world.stop();
    }
  });
});
