import { PassThrough } from 'node:stream';
import { Gauge, Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { createReception, type Received } from '../../src/routes/reception.ts';

const kb = 1024;

/** A reception with room for so many bytes, of which others hold some. */
function start(most = 1000 * kb, inHand = 0) {
  const gauge = new Gauge({ name: 'bytes', help: 'bytes', registers: [new Registry()] });
  const reception = createReception({
    hasRoom: (bytes, others) => inHand + others + bytes <= most,
    gauge,
  });
  return { reception, gauge };
}
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A body under way: its stream, and what becomes of it. */
function receive(reception: ReturnType<typeof start>['reception'], statedBytes?: number) {
  const payload = new PassThrough({ highWaterMark: 10_000 * kb });
  const body: { payload: PassThrough; received?: Received; status?: number } = { payload };
  const options = { maxBytes: 600 * kb, ...(statedBytes === undefined ? {} : { statedBytes }) };
  reception.receive(payload, options).then(
    (received) => {
      body.received = received;
    },
    (error) => {
      body.status = error.statusCode;
    },
  );
  return body;
}

describe('the reception of bodies', () => {
  it.each([undefined, 0, 10, 100 * kb, 5000 * kb])(
    'returns the text of what came, however it was cut: %s stated',
    async (stated) => {
      const { reception } = start();
      const text = `[${'é€💥x'.repeat(9000)}]`;
      const bytes = Buffer.from(text);
      for (const size of [1, 7, 1000, 16_384, 65_536, bytes.length]) {
        const body = receive(reception, stated);
        for (let at = 0; at < bytes.length; at += size) body.payload.write(bytes.subarray(at, at + size));
        body.payload.end();
        while (!body.received) await turn();
        expect(body.received.bytes).toBe(bytes.length);
        expect(body.received.text()).toBe(text);
        body.received.release();
        expect(reception.bytes).toBe(0);
      }
    },
  );

  it('allocates no more than a few kilobytes for a body that only says that it is long', async () => {
    const { reception } = start();
    const body = receive(reception, 500 * kb);
    expect(reception.bytes).toBe(0);
    body.payload.write('[');
    await turn();
    expect(reception.bytes).toBeLessThanOrEqual(16 * kb);
    body.payload.destroy();
  });

  it('holds a body until it is released, once', async () => {
    const { reception, gauge } = start();
    const body = receive(reception, 3);
    body.payload.end('abc');
    while (!body.received) await turn();
    expect(reception.bytes).toBe(3);
    expect((await gauge.get()).values[0]!.value).toBe(3);
    body.received.release();
    body.received.release();
    expect(reception.bytes).toBe(0);
    expect((await gauge.get()).values[0]!.value).toBe(0);
  });

  it('lets the oldest give way, and no more than are in the way', async () => {
    const { reception } = start();
    const bodies = [0, 1, 2, 3].map(() => receive(reception, 300 * kb));
    for (const { payload } of bodies) {
      payload.write(Buffer.alloc(300 * kb));
      await turn();
    }
    expect(bodies.map((body) => body.status)).toEqual([503, undefined, undefined, undefined]);
    expect(reception.bytes).toBe(900 * kb);
    for (const { payload } of bodies) payload.destroy();
    await turn();
    expect(reception.bytes).toBe(0);
  });

  it('lets none give way that is complete, nor for one that would find no room all the same', async () => {
    const { reception } = start(1000 * kb, 300 * kb);
    const complete = receive(reception, 300 * kb);
    complete.payload.end(Buffer.alloc(300 * kb));
    while (!complete.received) await turn();
    const stuck = receive(reception, 200 * kb);
    stuck.payload.write(Buffer.alloc(100 * kb));
    await turn();
    expect(reception.couldTake(400 * kb)).toBe(true);
    expect(reception.couldTake(401 * kb)).toBe(false);
    const large = receive(reception, 500 * kb);
    large.payload.write(Buffer.alloc(500 * kb));
    await turn();
    expect([complete.status, stuck.status, large.status]).toEqual([undefined, undefined, 503]);
    const fits = receive(reception, 400 * kb);
    fits.payload.write(Buffer.alloc(400 * kb));
    await turn();
    expect([complete.status, stuck.status, fits.status]).toEqual([undefined, 503, undefined]);
  });

  it('refuses what is too long, what breaks off, and all once it is closed', async () => {
    const { reception } = start();
    const long = receive(reception);
    long.payload.write(Buffer.alloc(601 * kb));
    const broken = receive(reception);
    broken.payload.write('abc');
    const stuck = receive(reception);
    stuck.payload.write('abc');
    await turn();
    broken.payload.destroy();
    await turn();
    reception.close();
    const late = receive(reception);
    await turn();
    expect([long, broken, stuck, late].map((body) => body.status)).toEqual([413, 400, 503, 503]);
    expect(reception.bytes).toBe(0);
  });
});
