import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as submit from '../../src/jobs/submit.ts';
import * as tick from '../../src/jobs/tick.ts';
import { insertFilms } from '../support/sql-factories.ts';
import {
  aborted,
  chunkStates,
  type JobWorld,
  options,
  passTime,
  queue,
  startJobWorld,
  status,
} from './job-world.ts';

describe('the tick job', () => {
  let world: JobWorld;
  beforeEach(async () => {
    world = await startJobWorld({ pipeline: { chunk_size: 5, flush_after: '1 minute' } });
  });
  afterEach(() => world.stop());

  it('forms full chunks at once and leaves an incomplete one waiting', async () => {
    // The insert forms one chunk by itself.
    await insertFilms(world.sql, 1, 13);
    const counts = await tick.runOnce(world.worker, options());
    expect(counts).toMatchObject({ formed: 1, more: 0 });
    expect(await chunkStates(world)).toEqual(['waiting', 'waiting']);
    expect(await status(world)).toMatchObject({ pending: 3, waiting: 10 });
  });

  it('forms an incomplete chunk once flush_after has gone by', async () => {
    await insertFilms(world.sql, 1, 3);
    expect(await tick.runOnce(world.worker, options())).toMatchObject({ formed: 0 });
    await passTime(world);
    expect(await tick.runOnce(world.worker, options())).toMatchObject({ formed: 1 });
  });

  it('runs twice harmlessly', async () => {
    await insertFilms(world.sql, 1, 10);
    await tick.runOnce(world.worker, options());
    expect(await tick.runOnce(world.worker, options())).toMatchObject({
      formed: 0,
      queued: 0,
      released: 0,
      more: 0,
    });
    expect(await status(world)).toMatchObject({ pending: 0, waiting: 10 });
  });

  it('two ticks at once form every row once', async () => {
    await insertFilms(world.sql, 1, 50);
    const another = world.another('w2');
    await Promise.all([tick.runOnce(world.worker, options()), tick.runOnce(another, options())]);
    await tick.runOnce(another, options());
    const keys = await world.sql`
      select k.key from rowmill.chunks as c cross join lateral jsonb_array_elements(c.keys) as k(key)`;
    expect(keys).toHaveLength(50);
    expect(new Set(keys.map((row) => JSON.stringify(row.key))).size).toBe(50);
  });

  it('forms no more chunks than its limit, and says that there is more', async () => {
    await insertFilms(world.sql, 1, 30);
    expect(await tick.runOnce(world.worker, options({ limit: 2 }))).toMatchObject({ formed: 2, more: 1 });
  });

  it('does nothing once the signal is aborted', async () => {
    await insertFilms(world.sql, 1, 12);
    const before = await chunkStates(world);
    expect(await tick.runOnce(world.worker, aborted())).toMatchObject({ formed: 0, released: 0, more: 0 });
    expect(await chunkStates(world)).toEqual(before);
    expect(await world.sql`select from rowmill.workers`).toHaveLength(0);
  });

  it('releases the chunks whose lease ran out, and leaves those alone that are renewed', async () => {
    await queue(world, 1, 10);
    const { store } = world.worker;
    const [mine] = await (await store.takeLease()).claimWork(1);
    const [other] = await (await world.another('w2').store.takeLease()).claimWork(1);
    await passTime(world, '110 seconds');
    expect(await store.renewLeases()).toBe(1);
    expect(await tick.runOnce(world.worker, options())).toMatchObject({ released: 0 });
    await passTime(world, '20 seconds');
    expect(await store.renewLeases()).toBe(1);
    expect(await tick.runOnce(world.worker, options())).toMatchObject({ released: 1 });
    const rows =
      await world.sql`select id, owner from rowmill.chunks where id in (${mine!.chunk_id}, ${other!.chunk_id}) order by id`;
    expect(rows.map((row) => row.owner)).toEqual(['w1/1', null]);
  });

  it('a chunk whose worker fell silent waits again, and another worker sends it', async () => {
    await queue(world, 1, 3);
    await (await world.another('dead').store.takeLease()).claimWork(1);
    expect(await submit.runOnce(world.worker, options())).toMatchObject({ fetched: 0 });
    await passTime(world);
    expect(await tick.runOnce(world.worker, options())).toMatchObject({ released: 1 });
    expect(await submit.runOnce(world.worker, options())).toMatchObject({ fetched: 1, submitted: 1 });
  });

  it('a chunk that could not be given back waits again once its lease has run out, although its worker lives', async () => {
    await queue(world, 1, 3);
    const { store } = world.worker;
    const lease = await store.takeLease();
    const [chunk] = await lease.claimWork(1);
    await world.sql`alter function rowmill.release_chunk(bigint, text) rename to release_chunk_gone`;
    expect(await lease.releaseChunk(chunk!.chunk_id)).toBe(false);
    lease.hold.end();
    await world.sql`alter function rowmill.release_chunk_gone(bigint, text) rename to release_chunk`;
    expect(await store.renewLeases()).toBe(0);
    expect(await tick.runOnce(world.worker, options())).toMatchObject({ released: 0 });
    await passTime(world, '3 minutes');
    expect(await tick.runOnce(world.worker, options())).toMatchObject({ released: 1 });
    expect(await chunkStates(world)).toEqual(['waiting']);
  });
});
