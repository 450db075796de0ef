import { afterEach, describe, expect, it } from 'vitest';
import * as submit from '../../src/jobs/submit.ts';
import { batches, failures, type JobWorld, options, status } from '../jobs/job-world.ts';
import {
  collect,
  type OutcomeWorld,
  paid,
  round,
  rowFailures,
  send,
  startOutcomeWorld,
} from './outcome-world.ts';
import { requestBodies } from './request-bodies.ts';

describe('rows of a chunk with the same input', () => {
  let world: OutcomeWorld;
  afterEach(() => world.stop());

  /** Films with ids from 1 on, of these titles. */
  async function insert(titles: string[], from = 1): Promise<void> {
    await world.sql`
      insert into films (id, title)
      select n + ${from - 1}, title from unnest(${titles}::text[]) with ordinality as t(title, n)`;
  }
  async function summaryOf(id: number): Promise<string | null> {
    const [row] = await world.sql`select summary from films where id = ${id}`;
    return row!.summary;
  }

  it('are sent once, and each has the answer', async () => {
    world = await startOutcomeWorld();
    await insert(['Alien', 'Brazil', 'Alien', 'Casablanca', 'Alien']);
    await round(world);
    expect(world.simulator.ledger.summary()).toMatchObject({ executed: 3, repeatedPrompts: 0 });
    expect(await batches(world)).toMatchObject([{ requests: 3, rows: 5, rows_enriched: 5, has_twins: true }]);
    expect(await status(world)).toMatchObject({ enriched: 5, in_flight: 0, pending: 0, failed: 0 });
    const answer = await summaryOf(1);
    expect(answer).toContain('Alien');
    expect([await summaryOf(3), await summaryOf(5)]).toEqual([answer, answer]);
    expect(await summaryOf(2)).toContain('Brazil');
  });

  it('are counted one by one while they are in flight', async () => {
    world = await startOutcomeWorld();
    await insert(['Alien', 'Alien', 'Brazil']);
    await send(world);
    expect(await status(world)).toMatchObject({ in_flight: 3 });
    await collect(world);
  });

  it('fail together, are paid for as one, and go round together', async () => {
    world = await startOutcomeWorld({ faults: ['answer_not_json;prompt=Alien'] });
    await insert(['Alien', 'Brazil', 'Alien']);
    await round(world);
    expect(await failures(world)).toMatchObject(
      [[1], [3]].map((key) => ({ key, error_class: 'invalid_json', attempts: 1, is_final: false })),
    );
    expect(await batches(world)).toMatchObject([
      { rows_enriched: 1, rows_failed: 2, failed_by_class: { invalid_json: 2 } },
    ]);
    await round(world);
    await round(world);
    expect(await rowFailures(world)).toMatchObject([1, 3].map((id) => ({ key: [id], attempts: 3 })));
    expect(world.simulator.ledger.timesPrompted('Title: Alien')).toBe(3);
    expect(paid(world)).toBe(4);
  });

  it('go round together where their batch expires before them', async () => {
    world = await startOutcomeWorld({ faults: ['expires@1;share=0.5'] });
    await insert(['Brazil', 'Alien', 'Alien']);
    await round(world);
    expect(await failures(world)).toMatchObject(
      [2, 3].map((id) => ({ key: [id], error_class: 'batch_expired', attempts: 0 })),
    );
    await round(world);
    expect(await status(world)).toMatchObject({ enriched: 3, retrying: 0 });
    expect(world.simulator.ledger.summary()).toMatchObject({ executed: 2, repeatedPrompts: 0 });
  });

  it.each([
    ['the first, whose request it is', 1, 3],
    ['another', 3, 1],
  ])('go their ways when one is edited meanwhile: %s', async (_which, edited, other) => {
    world = await startOutcomeWorld();
    await insert(['Alien', 'Brazil', 'Alien']);
    await send(world);
    await world.sql`update films set title = 'Aliens' where id = ${edited}`;
    await collect(world);
    expect(await status(world)).toMatchObject({ enriched: 2, stale: 1, gone: 0, failed: 0 });
    expect(await summaryOf(edited)).toBeNull();
    expect(await summaryOf(other)).toContain('Alien');
    await round(world);
    expect(await summaryOf(edited)).toContain('Aliens');
    expect(world.simulator.ledger.summary()).toMatchObject({ executed: 3, repeatedPrompts: 0 });
  });

  it.each([
    ['the first, whose request it is', 1, 3],
    ['another', 3, 1],
  ])('go their ways when one is deleted meanwhile: %s', async (_which, deleted, other) => {
    world = await startOutcomeWorld();
    await insert(['Alien', 'Brazil', 'Alien']);
    await send(world);
    await world.sql`delete from films where id = ${deleted}`;
    await collect(world);
    expect(await status(world)).toMatchObject({ enriched: 2, stale: 0, gone: 1, failed: 0, in_flight: 0 });
    expect(await summaryOf(other)).toContain('Alien');
  });

  it('share a failure no more when one is edited meanwhile', async () => {
    world = await startOutcomeWorld({ faults: ['answer_refused;prompt=Alien'] });
    await insert(['Alien', 'Brazil', 'Alien']);
    await send(world);
    await world.sql`update films set title = 'Blade Runner' where id = 1`;
    await collect(world);
    expect(await rowFailures(world)).toMatchObject([{ key: [3], error_class: 'refused' }]);
    await round(world);
    expect(await summaryOf(1)).toContain('Blade Runner');
  });

  it('are each paid for in chunks of their own', async () => {
    world = await startOutcomeWorld({ pipeline: { chunk_size: 2 } });
    await insert(['Alien', 'Alien', 'Alien']);
    await round(world);
    expect(await status(world)).toMatchObject({ enriched: 3 });
    expect(paid(world)).toBe(2);
  });

  describe('of which a file has no room for all', () => {
    const long = 'x'.repeat(2000);
    /** A worker whose files hold one long request, or two. */
    async function sendOver(maxFileBytes: number): Promise<void> {
      const worker = world.another('w2', { maxFileBytes });
      await world.sql`select rowmill.flush('films')`;
      await submit.runOnce(worker, options());
    }
    async function sentPrompts(): Promise<number> {
      return (await requestBodies(world)).size;
    }
    async function finish(inAll: number, rows: number): Promise<void> {
      await collect(world as JobWorld);
      await round(world);
      expect(await status(world)).toMatchObject({ enriched: rows, pending: 0, in_flight: 0, failed: 0 });
      expect(world.simulator.ledger.summary()).toMatchObject({ executed: inAll, repeatedPrompts: 0 });
    }

    it('stay together behind the cut', async () => {
      world = await startOutcomeWorld();
      await insert([`A${long}`, `B${long}`, `B${long}`]);
      await sendOver(3000);
      expect(await sentPrompts()).toBe(1);
      expect(await status(world)).toMatchObject({ in_flight: 1, pending: 2 });
      await finish(2, 3);
    });

    it('stay together before the cut', async () => {
      world = await startOutcomeWorld();
      await insert([`A${long}`, `A${long}`, `B${long}`]);
      await sendOver(3000);
      expect(await status(world)).toMatchObject({ in_flight: 2, pending: 1 });
      await finish(2, 3);
    });

    it('stay together although the cut falls between them', async () => {
      world = await startOutcomeWorld();
      await insert([`A${long}`, `B${long}`, `A${long}`]);
      await sendOver(3000);
      expect(await status(world)).toMatchObject({ in_flight: 2, pending: 1 });
      await finish(2, 3);
    });
  });
});
