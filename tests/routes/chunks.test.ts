import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createFilmsPipeline } from '../support/films.ts';
import { pgNetStub } from '../support/pg-net-stub.ts';
import { ingestSecret, startWorld, type World, waitFor } from '../support/service.ts';

describe('POST /v1/chunks', () => {
  let world: World;
  beforeAll(async () => {
    // Nothing ticks by itself: what a test sees is what its posts did.
    const never = '0 0 1 1 *';
    world = await startWorld({ env: { ROWMILL_TICK_CRON: never, ROWMILL_POLL_CRON: never } });
    await world.sql.unsafe(pgNetStub);
    await world.sql`select rowmill.set_endpoint(${world.service.url}, ${ingestSecret})`;
    await createFilmsPipeline(world.sql, { chunkSize: 10 });
  });
  afterAll(() => world.stop());
  beforeEach(async () => {
    await world.sql`truncate films, net.http_request_queue`;
    await world.sql`truncate rowmill.pending_keys, rowmill.chunk_rows`;
    await world.sql`delete from rowmill.chunks`;
  });

  type Headers = Record<string, string>;
  type Answer = {
    status: number;
    body: { status?: string; error?: { code: string; message: string } };
    headers: globalThis.Headers;
  };

  async function post(body: string | Uint8Array<ArrayBuffer>, headers: Headers): Promise<Answer> {
    const response = await fetch(`${world.service.url}/v1/chunks`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body,
    });
    return {
      status: response.status,
      body: (await response.json()) as Answer['body'],
      headers: response.headers,
    };
  }
  function signed(body: string, at = new Date(), id = 'chunk_test'): Headers {
    const signature = new Webhook(ingestSecret).sign(id, at, body);
    return {
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
      'webhook-signature': signature,
    };
  }
  const postSigned = (body: object) => {
    const text = JSON.stringify(body);
    return post(text, signed(text));
  };

  /** A waiting chunk of ten rows, formed by a statement, and what was queued for pg_net. */
  async function formChunk(): Promise<{ id: number; body: string; headers: Headers }> {
    await world.sql.unsafe(
      `insert into films (title, description) select 'Film ' || n, 'x' from generate_series(1, 10) as n`,
    );
    const [chunk] = await world.sql<{ id: number }[]>`select max(id) as id from rowmill.chunks`;
    const [request] = await world.sql<{ body: Buffer; headers: Headers }[]>`
      select body, headers from net.http_request_queue order by id desc limit 1`;
    return { id: chunk!.id, body: request!.body.toString(), headers: request!.headers };
  }
  /** The same with the rows in the body, as the tick posts them. */
  async function flushChunk(count: number): Promise<{ body: string; headers: Headers }> {
    await world.sql`select rowmill.pause_pipeline('films')`;
    await world.sql`insert into films (title, description) select 'Film ' || n, 'x' from generate_series(1, ${count}) as n`;
    await world.sql`select rowmill.resume_pipeline('films')`;
    await world.sql`select rowmill.flush('films')`;
    const [request] = await world.sql<{ body: Buffer; headers: Headers }[]>`
      select body, headers from net.http_request_queue order by id desc limit 1`;
    return { body: request!.body.toString(), headers: request!.headers };
  }
  const state = async (id: number) => {
    const [chunk] = await world.sql`select state from rowmill.chunks where id = ${id}`;
    return chunk!.state;
  };
  async function expectNothingStored(chunkId: number): Promise<void> {
    expect(await state(chunkId)).toBe('waiting');
    expect(await world.sql`select from rowmill.chunk_rows`).toHaveLength(0);
  }
  const row = (n: number) => ({ n, hash: '0123456789abcdef', input: { title: 'Film', description: null } });

  it('what the database posts is accepted with 202 and ends in the table', async () => {
    const chunk = await formChunk();
    const answer = await post(chunk.body, chunk.headers);
    expect(answer).toMatchObject({ status: 202, body: { status: 'accepted', chunk_id: chunk.id } });
    await waitFor('the batch runs', async () => (await state(chunk.id)) === 'batched');
    await waitFor('it is enriched', async () => {
      world.service.wake('poll');
      const rows = await world.sql`select from films where summary like title || ':%'`;
      return rows.length === 10;
    });
  });

  it('rows that came along are sent as they came', async () => {
    const chunk = await flushChunk(1);
    expect(JSON.parse(chunk.body).rows).toEqual([
      { n: 0, hash: expect.stringMatching(/^[0-9a-f]{16}$/), input: { title: 'Film 1', description: 'x' } },
    ]);
    expect(await post(chunk.body, chunk.headers)).toMatchObject({ status: 202 });
    await waitFor('it is enriched', async () => {
      world.service.wake('poll');
      const [film] = await world.sql`select summary from films`;
      return film!.summary?.startsWith('Film 1');
    });
  });

  it('a replayed post is answered with 200 and has no second effect', async () => {
    const chunk = await formChunk();
    const before = world.simulator.ledger.batchesCreated;
    const answers = await Promise.all([1, 2, 3, 4].map(() => post(chunk.body, chunk.headers)));
    expect(answers.map((answer) => answer.status).sort()).toEqual([200, 200, 200, 202]);
    await waitFor('the batch runs', async () => {
      const batches = await world.sql`
        select from rowmill.batch_processing_details as b join rowmill.chunks as c on c.batch_id = b.id
        where c.id = ${chunk.id} and b.provider_batch_id is not null`;
      return batches.length === 1;
    });
    expect(await post(chunk.body, chunk.headers)).toMatchObject({ status: 200, body: { status: 'known' } });
    expect(world.simulator.ledger.batchesCreated).toBe(before + 1);
  });

  it('no signature is refused with 401', async () => {
    const chunk = await formChunk();
    const answer = await post(chunk.body, {});
    expect(answer).toMatchObject({
      status: 401,
      body: { error: { code: 'bad_signature', message: expect.stringContaining('webhook-signature') } },
    });
    await expectNothingStored(chunk.id);
  });

  it('a wrong signature is refused with 401', async () => {
    const chunk = await formChunk();
    const headers = { ...chunk.headers, 'webhook-signature': `v1,${Buffer.alloc(32).toString('base64')}` };
    expect(await post(chunk.body, headers)).toMatchObject({
      status: 401,
      body: { error: { code: 'bad_signature' } },
    });
    expect(await post(`${chunk.body} `, chunk.headers)).toMatchObject({ status: 401 });
    await expectNothingStored(chunk.id);
  });

  it('an old timestamp is refused with 401', async () => {
    const chunk = await formChunk();
    const old = signed(chunk.body, new Date(Date.now() - 6 * 60_000));
    expect(await post(chunk.body, old)).toMatchObject({
      status: 401,
      body: { error: { code: 'bad_timestamp', message: expect.stringContaining('5 minutes') } },
    });
    await expectNothingStored(chunk.id);
  });

  it('truncated JSON is refused with 422', async () => {
    const chunk = await formChunk();
    const cut = chunk.body.slice(0, -5);
    expect(await post(cut, signed(cut))).toMatchObject({
      status: 422,
      body: { error: { code: 'invalid_json' } },
    });
    await expectNothingStored(chunk.id);
  });

  it('a body of 100 MB is refused with 413', async () => {
    const chunk = await formChunk();
    const body = Buffer.alloc(100_000_000, 0x20);
    const answer = await post(body, signed('x'));
    expect(answer).toMatchObject({
      status: 413,
      body: { error: { code: 'too_large', message: expect.stringContaining('post_max_bytes') } },
    });
    await expectNothingStored(chunk.id);
  });

  it('an unknown pipeline is refused with 422', async () => {
    const chunk = await formChunk();
    const answer = await postSigned({ chunk_id: chunk.id, pipeline: 'flims' });
    expect(answer).toMatchObject({
      status: 422,
      body: { error: { code: 'unknown_pipeline', message: expect.stringContaining('flims') } },
    });
    await expectNothingStored(chunk.id);
  });

  it('an unknown chunk is refused with 422', async () => {
    const chunk = await formChunk();
    const answer = await postSigned({ chunk_id: chunk.id + 1000, pipeline: 'films' });
    expect(answer).toMatchObject({ status: 422, body: { error: { code: 'unknown_chunk' } } });
    await expectNothingStored(chunk.id);
  });

  it('rows that do not belong to the chunk are refused with 422', async () => {
    const chunk = await formChunk();
    const answer = await postSigned({ chunk_id: chunk.id, pipeline: 'films', rows: [row(0), row(10)] });
    expect(answer).toMatchObject({
      status: 422,
      body: { error: { code: 'foreign_rows', message: expect.stringContaining('no row 10') } },
    });
    await expectNothingStored(chunk.id);
  });

  it('a place that comes twice is refused with 422', async () => {
    const chunk = await formChunk();
    const answer = await postSigned({ chunk_id: chunk.id, pipeline: 'films', rows: [row(0), row(0)] });
    expect(answer).toMatchObject({
      status: 422,
      body: { error: { code: 'duplicate_n', message: expect.stringContaining('0 came twice') } },
    });
    await expectNothingStored(chunk.id);
  });

  it.each([
    ['a missing chunk_id', { pipeline: 'films' }],
    ['a typo in a key', { chunk_id: 1, pipeline: 'films', row: [] }],
    ['a malformed hash', { chunk_id: 1, pipeline: 'films', rows: [{ ...row(0), hash: 'x' }] }],
    [
      'an input that is a number',
      { chunk_id: 1, pipeline: 'films', rows: [{ ...row(0), input: { title: 1 } }] },
    ],
    ['no object at all', []],
  ])('%s is refused with 422 and says what was expected', async (_what, body) => {
    const answer = await postSigned(body);
    expect(answer).toMatchObject({
      status: 422,
      body: { error: { code: 'invalid_chunk', message: expect.stringContaining('not a chunk') } },
    });
  });

  it('rows whose input changed on the way are sent, and their answers refused and asked for again', async () => {
    const chunk = await flushChunk(10);
    expect(JSON.parse(chunk.body).rows).toHaveLength(10);
    await world.sql`update films set title = 'Another film' where title = 'Film 3'`;
    expect(await post(chunk.body, chunk.headers)).toMatchObject({ status: 202 });
    await waitFor('all are enriched', async () => {
      await world.sql`update rowmill.pending_keys set queued_at = now() - interval '1 minute'`;
      for (const job of ['tick', 'submit', 'poll'] as const) world.service.wake(job);
      const rows = await world.sql`select from films where summary like title || ':%'`;
      return rows.length === 10;
    });
    const [batch] =
      await world.sql`select rows_stale from rowmill.batch_status order by rows_stale desc limit 1`;
    expect(batch!.rows_stale).toBe(1);
  });
});
