import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { startBareApp } from '../routes/bare-app.ts';
import { ingestSecret, waitFor } from '../support/service.ts';
import { type DoctorWorld, listen, startDoctorWorld } from './doctor-world.ts';

const otherSecret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

describe('doctor() finds out about posts:', () => {
  let world: DoctorWorld;
  const cleanUps: (() => unknown)[] = [];
  beforeAll(async () => {
    world = await startDoctorWorld();
  });
  afterAll(() => world.stop());
  beforeEach(() => world.forgetPings());
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
    await world.sql`select rowmill.set_endpoint(${world.workerUrl}, ${ingestSecret})`;
    await world.sql`update rowmill.settings set post_rows = default, post_timeout_ms = default`;
  });

  const aim = (url: string) => world.sql`select rowmill.set_endpoint(${url})`;
  /** Something that listens where a worker should be. */
  async function startOther(listener: RequestListener): Promise<string> {
    const server: Server = createServer(listener);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanUps.push(() => {
      server.closeAllConnections();
      server.close();
    });
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }
  /** The same that answers everything alike. */
  const startAnswering = (status: number, type: string, body: string) =>
    startOther((request, response) => {
      request.resume().on('end', () => response.writeHead(status, { 'content-type': type }).end(body));
    });

  it('all is well', async () => {
    await world.until('small post', 'ok', /took the post up after \d+ ms/);
    await world.until('large post', 'ok');
    expect(await world.lookAt('secret')).toMatchObject({ verdict: 'ok' });
    expect(await world.lookAt('clock')).toMatchObject({ verdict: 'ok' });
    expect(await world.lookAt('pg_net worker')).toMatchObject({ verdict: 'ok' });
    // The two of the first look serve the others.
    const sent = await world.sql`select bytes from rowmill.pings order by bytes`;
    expect(sent.map((ping) => ping.bytes > 1_000_000)).toEqual([false, true]);
  });

  it('nothing was answered yet', async () => {
    expect(await world.lookAt('small post')).toMatchObject({
      verdict: 'note',
      found: expect.stringContaining('not answered yet'),
      remedy: expect.stringContaining('Ask again'),
    });
  });

  it('nobody listens', async () => {
    await aim('http://127.0.0.1:1');
    const row = await world.until('small post', 'fault', /127\.0\.0\.1:1.*connect/);
    expect(row.remedy).toContain('set_endpoint');
    expect(await world.lookAt('large post')).toMatchObject({ remedy: 'See the small post first.' });
    await aim(world.workerUrl);
    await world.until('small post', 'ok');
  });

  it('an answer from elsewhere, which says nothing about here', async () => {
    await world.until('small post', 'ok');
    await aim('http://127.0.0.1:1');
    expect(await world.lookAt('small post')).toMatchObject({ verdict: 'note' });
    await world.until('small post', 'fault');
    await world.sql`select rowmill.set_endpoint(${world.workerUrl}, ${otherSecret})`;
    expect(await world.lookAt('secret')).toMatchObject({ verdict: 'note' });
    await world.until('secret', 'fault');
  });

  it('the address is wrong (404)', async () => {
    await aim(`${world.workerUrl}/v2/chunks`);
    const row = await world.until('small post', 'fault', /something else.*\(404\)/);
    expect(row.remedy).toContain('/v1/chunks');
  });

  it('a page answers, in HTML', async () => {
    await aim(await startAnswering(200, 'text/html; charset=utf-8', '<h1>It works!</h1>'));
    await world.until('small post', 'fault', /something else than a worker/);
  });

  it('something answers in other words', async () => {
    await aim(await startAnswering(200, 'application/json', '{"hello": "world"}'));
    await world.until('small post', 'fault', /instead of the ping: \{"hello": "world"\}/);
  });

  it('a proxy has no worker behind it, and some seconds later that it has', async () => {
    const worker = await startBareApp();
    await worker.app.ready();
    cleanUps.push(() => worker.close());
    let isThere = false;
    const url = await startOther((request, response) => {
      if (isThere) worker.app.routing(request, response);
      else request.resume().on('end', () => response.writeHead(502).end('Bad Gateway'));
    });
    await aim(url);
    await world.until('small post', 'fault', /no worker is behind it \(502\)/);
    isThere = true;
    await world.until('small post', 'ok');
  });

  it('an older worker knows no pings', async () => {
    await aim(await startAnswering(422, 'application/json', '{"error": {"code": "invalid_chunk"}}'));
    await world.until('small post', 'warning', /older worker/);
  });

  it('a busy worker turns posts away', async () => {
    const body = '{"error": {"code": "busy", "message": "Too much is in memory"}}';
    await aim(await startAnswering(503, 'application/json', body));
    await world.until('small post', 'note', /Too much is in memory/);
  });

  it('nobody answers in time', async () => {
    await world.sql`update rowmill.settings set post_timeout_ms = 300`;
    await aim(await startOther(() => {}));
    const row = await world.until('small post', 'fault', /no answer .* within 300 ms/);
    expect(row.remedy).toContain('post_timeout_ms');
  });

  it('bodies of 1 MB stall, and what mends it', async () => {
    await world.sql`update rowmill.settings set post_timeout_ms = 1500`;
    const worker = await startBareApp();
    await worker.app.ready();
    cleanUps.push(() => worker.close());
    const url = await startOther((request, response) => {
      // Without a word, as a build of pg_net that stalls looks from outside.
      if (Number(request.headers['content-length']) > 1_000_000) return;
      worker.app.routing(request, response);
    });
    await aim(url);
    const row = await world.until('large post', 'warning', /small posts arrive.*within 1500 ms/);
    expect(await world.lookAt('small post')).toMatchObject({ verdict: 'ok' });
    expect(row.remedy).toBe('update rowmill.settings set post_rows = false;');
    await world.sql.unsafe(row.remedy!);
    expect(await world.lookAt('large post')).toMatchObject({ verdict: 'ok' });
  });

  it('bodies of 1 MB are too long for a proxy (413)', async () => {
    const worker = await startBareApp();
    await worker.app.ready();
    cleanUps.push(() => worker.close());
    const url = await startOther((request, response) => {
      if (Number(request.headers['content-length']) < 1_000_000) worker.app.routing(request, response);
      else request.resume().on('end', () => response.writeHead(413).end());
    });
    await aim(url);
    await world.until('large post', 'warning', /takes no body of that length \(413\)/);
  });

  it('the secrets differ, and what mends it', async () => {
    await world.sql`select rowmill.set_endpoint(${world.workerUrl}, ${otherSecret})`;
    const row = await world.until('secret', 'fault', /another one/);
    expect(row.remedy).toContain('set_endpoint');
    expect(await world.lookAt('small post')).toMatchObject({ verdict: 'warning' });
    await world.sql.unsafe(row.remedy!.replace('whsec_…', ingestSecret).replace(/;.*/, ''));
    await world.until('secret', 'ok');
    await world.until('small post', 'ok');
  });

  it('the worker has no secret', async () => {
    const worker = await startBareApp({ secret: undefined });
    cleanUps.push(() => worker.close());
    await aim(await listen(worker));
    const row = await world.until('secret', 'fault', /the worker has none/);
    expect(row.remedy).toContain('ROWMILL_INGEST_SECRET');
  });

  it('the secret is malformed, or gone; and what mends it', async () => {
    await world.sql`update rowmill.secrets set value = 'topsecret'`;
    const row = await world.lookAt('secret');
    expect(row).toMatchObject({ verdict: 'fault', found: expect.stringContaining('whsec_') });
    expect(JSON.stringify(await world.look())).not.toContain('topsecret');
    expect(await world.lookAt('small post')).toMatchObject({
      found: 'nothing is posted: the secret cannot be used',
    });
    await world.sql`delete from rowmill.secrets`;
    expect(await world.lookAt('secret')).toMatchObject({
      verdict: 'fault',
      found: expect.stringContaining('none'),
    });
    await world.sql.unsafe(row.remedy!.replace('whsec_…', ingestSecret).replace(/;.*/, ''));
    await world.until('secret', 'ok');
  });

  it('the secret in Vault cannot be decrypted', async () => {
    await world.sql.unsafe(`
      create schema vault;
      create function vault.broken() returns text language plpgsql stable as $$
        begin raise exception 'invalid ciphertext of topsecret'; end
      $$;
      create view vault.decrypted_secrets as
        select gen_random_uuid() as id, 'rowmill_ingest_secret'::text as name, vault.broken() as decrypted_secret;
      create function vault.create_secret(text, text, text, uuid) returns uuid language sql as 'select null::uuid';
      create function vault.update_secret(uuid, text, text, text, uuid) returns void language sql as 'select null::void'`);
    try {
      expect(await world.lookAt('secret')).toMatchObject({
        verdict: 'fault',
        found: expect.stringContaining('cannot be decrypted'),
      });
      expect(await world.lookAt('small post')).toMatchObject({ verdict: 'note' });
      expect(JSON.stringify(await world.look())).not.toContain('topsecret');
    } finally {
      await world.sql`drop schema vault cascade`;
    }
  });

  it.each([
    [61_000, 'warning', /(60|61|62) s ahead/],
    [-61_000, 'warning', /(60|61|62) s behind/],
    [360_000, 'fault', /more than 5 minutes off .* refuses every post/],
  ] as const)('the worker’s clock is %i ms off', async (offMs, verdict, found) => {
    // The worker's HTTP side runs in this process; Postgres has its own clock.
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + offMs });
    cleanUps.push(() => vi.useRealTimers());
    let row = await world.lookAt('clock');
    for (let tries = 0; row.verdict !== verdict && tries < 400; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      row = await world.lookAt('clock');
    }
    expect(row).toMatchObject({ verdict, found: expect.stringMatching(found) });
    expect(row.remedy).toContain('NTP');
  });

  it('the worker’s clock is so far off that it refuses posts', async () => {
    const url = await startOther((request, response) => {
      request.resume().on('end', () => {
        const date = new Date(Date.now() - 3_600_000).toUTCString();
        response.writeHead(401, { 'content-type': 'application/json', date });
        response.end('{"error": {"code": "bad_timestamp", "message": "too new"}}');
      });
    });
    await aim(url);
    await world.until('clock', 'fault', /3(599|600|601|602) s behind the database's/);
    expect(await world.lookAt('small post')).toMatchObject({
      verdict: 'warning',
      remedy: 'See the check of the clock.',
    });
  });

  it('the worker of pg_net is down', async (context) => {
    const { deliverer } = world.pgNet;
    if (deliverer === null) return context.skip('the real one restarts within a second');
    await deliverer.stop();
    cleanUps.push(() => deliverer.start());
    const row = await world.lookAt('pg_net worker');
    expect(row).toMatchObject({ verdict: 'fault', remedy: expect.stringContaining('restart') });
    await world.sql`update rowmill.pings set sent_at = sent_at - interval '40 seconds'`;
    expect(await world.lookAt('small post')).toMatchObject({
      verdict: 'fault',
      found: expect.stringContaining('still in pg_net'),
    });
    await deliverer.start();
    await world.forgetPings();
    await world.until('small post', 'ok');
    expect(await world.lookAt('pg_net worker')).toMatchObject({ verdict: 'ok' });
  });

  it('a crash took posts and answers, and others are posted', async (context) => {
    const { deliverer } = world.pgNet;
    if (deliverer === null) return context.skip('the real one cannot be told to crash');
    await world.until('small post', 'ok');
    await deliverer.crash();
    await world.sql`update rowmill.pings set sent_at = sent_at - interval '40 seconds'`;
    // The first of a fresh count, with the number of a ping: it is not taken for that one's answer.
    await world.sql`select net.http_post(${`${world.workerUrl}/v1/chunks`})`;
    const [lost] = await world.sql`select max(id) as id from rowmill.pings`;
    await world.until('small post', 'ok');
    const [now] = await world.sql`select max(id) as id from rowmill.pings`;
    expect(now!.id).toBeGreaterThan(lost!.id);
  });

  it('another request has the number of a ping, after a crash', async (context) => {
    const { deliverer } = world.pgNet;
    if (deliverer === null) return context.skip('the real one would answer');
    await deliverer.stop();
    cleanUps.push(() => deliverer.start());
    await world.look();
    for (const content of ['{"chunk_id": 1, "status": "known"}', '{"ping": 1}']) {
      await world.sql`
        insert into net._http_response (id, status_code, content)
        select request_id, 200, ${content} from rowmill.pings`;
      expect(await world.lookAt('small post')).toMatchObject({
        verdict: 'note',
        found: expect.stringContaining('not answered yet'),
      });
      await world.sql`delete from net._http_response`;
    }
    await world.sql`delete from net.http_request_queue`;
  });

  it('pg_net took a post and sent it nowhere', async (context) => {
    const { deliverer } = world.pgNet;
    if (deliverer === null) return context.skip('the real one cannot be told to drop requests');
    deliverer.dropNext(2);
    await world.look();
    await waitFor('both are taken', async () => {
      return (await world.sql`select from net.http_request_queue`).length === 0;
    });
    await world.sql`update rowmill.pings set sent_at = sent_at - interval '40 seconds'`;
    const rows = await world.sql`select (rowmill.judge_probe(rowmill.probe_of(false))).*`;
    expect(rows).toMatchObject([{ verdict: 'warning', found: expect.stringContaining('a crash empties') }]);
    await world.until('small post', 'ok');
  });

  it('there is no pg_net, no endpoint, or none that is encrypted', async () => {
    await world.sql`alter schema net rename to hidden_net`;
    try {
      const row = await world.lookAt('pg_net');
      expect(row).toMatchObject({ verdict: 'note', found: expect.stringContaining('not installed') });
      expect(await world.lookAt('small post')).toMatchObject({ verdict: 'note' });
    } finally {
      await world.sql`alter schema hidden_net rename to net`;
    }
    await world.sql`select rowmill.set_endpoint(null)`;
    expect(await world.lookAt('endpoint')).toMatchObject({ verdict: 'note' });
    await world.sql`update rowmill.settings set endpoint_url = 'http://me:hidden@worker.invalid/x?token=hidden'`;
    // Not by doctor(), which would post there.
    const [row] = await world.sql`select (rowmill.examine_endpoint()).*`;
    expect(row).toMatchObject({ verdict: 'warning', found: expect.stringContaining('unencrypted') });
    expect(JSON.stringify(row)).not.toContain('hidden');
    await world.sql`update rowmill.settings set endpoint_url = 'http://me:hidden@127.0.0.1:1/x?token=hidden'`;
    await world.until('small post', 'fault', /127\.0\.0\.1:1/);
    expect(JSON.stringify(await world.look())).not.toContain('hidden');
  });
});
