import { afterEach, describe, expect, it } from 'vitest';
import { refusal as refusedWith } from '../../src/simulator/execute.ts';
import type { Faults } from '../../src/simulator/faults.ts';
import { requestError } from '../../src/simulator/request-errors.ts';
import { batches, failures, status } from '../jobs/job-world.ts';
import { createFilms, createPipeline, insertFilms } from '../support/sql-factories.ts';
import { type OutcomeWorld, round, startOutcomeWorld } from './outcome-world.ts';

const films = 10;
type Fate = 'fails' | 'is_refused' | 'is_well';

/** How the rows of the next batches fare: of each ten films, by the last digit. */
class Fates implements Faults {
  of: (digit: number) => Fate = () => 'is_well';
  isExpiring = false;
  isRejecting = false;

  outcome = (_batch: unknown, _id: string, body: unknown) => {
    const fate = this.of(Number(/film \d*(\d)"/.exec(JSON.stringify(body))?.[1]));
    if (fate === 'fails') return refusedWith(requestError(500));
    return fate === 'is_refused' ? { flaw: 'refused' as const } : undefined;
  };
  expires = () => this.isExpiring;
  validation = () =>
    this.isRejecting ? [{ code: 'invalid_value', message: 'not this line', param: null, line: 1 }] : [];

  allFail(): void {
    this.of = () => 'fails';
  }
  /** So many of ten films fail. */
  fail(count: number): void {
    this.of = (digit) => (digit < count ? 'fails' : 'is_well');
  }
}

describe('the circuit breaker', () => {
  let world: OutcomeWorld;
  let fates: Fates;
  let last = 0;
  afterEach(() => world.stop());

  async function start(settings: Record<string, number> = {}): Promise<void> {
    fates = new Fates();
    last = 0;
    // So many attempts that no row is final before the breaker has its say.
    world = await startOutcomeWorld({ faults: fates, pipeline: { max_attempts: 20 } });
    if (Object.keys(settings).length > 0) await world.sql`update rowmill.settings set ${world.sql(settings)}`;
  }

  /** Ten more films, in a batch with whatever goes round. */
  async function another(times = 1): Promise<void> {
    for (let time = 0; time < times; time += 1) {
      await insertFilms(world.sql, last + 1, last + films);
      last += films;
      await round(world);
    }
  }
  /** A batch of ten films alone, without those that failed before. */
  async function aloneWith(failing: number): Promise<void> {
    await world.sql`delete from rowmill.pending_keys`;
    fates.fail(failing);
    await another();
  }
  const state = async () => (await status(world)).state;

  it('pauses a pipeline after three bad batches in a row, with the commonest class as the reason', async () => {
    await start();
    fates.of = (digit) => (digit === 0 ? 'is_refused' : digit < 7 ? 'fails' : 'is_well');
    await another(2);
    expect(await state()).toBe('active');
    await another();
    const { state: now, state_reason: reason } = await status(world);
    expect(now).toBe('paused');
    expect(reason).toMatch(/^3 batches in a row failed, mostly with server_error: The server had an error/);
    expect(reason).toMatch(/ Once it is mended: select rowmill\.resume_pipeline\('films'\);$/);
    await another();
    expect(world.simulator.ledger.batchesCreated).toBe(3);
    expect((await status(world)).waiting_reason).toBe(reason);
  });

  it('counts batches in a row alone: a good one between them begins anew', async () => {
    await start();
    fates.allFail();
    await another(2);
    fates.of = () => 'is_well';
    await another();
    fates.allFail();
    await another(2);
    expect(await state()).toBe('active');
    await another();
    expect(await state()).toBe('paused');
  });

  it('takes a batch of which just enough passed for a good one', async () => {
    await start();
    for (const failing of [5, 5, 5, 5]) await aloneWith(failing);
    expect(await state()).toBe('active');
    for (const failing of [6, 6, 6]) await aloneWith(failing);
    expect(await state()).toBe('paused');
  });

  it('does not count what expired, and does not take it for a good batch either', async () => {
    await start();
    fates.isExpiring = true;
    await another(4);
    expect(await state()).toBe('active');
    fates.isExpiring = false;
    fates.allFail();
    await another(2);
    fates.isExpiring = true;
    await another();
    expect(await state()).toBe('active');
    fates.isExpiring = false;
    await another();
    expect(await state()).toBe('paused');
    expect((await status(world)).state_reason).toContain('server_error');
  });

  it('judges a batch that expired half done by the half that was done', async () => {
    await start();
    for (let time = 0; time < 3; time += 1) {
      await world.sql`delete from rowmill.pending_keys`;
      fates.allFail();
      fates.expires = ((_batch: unknown, executed: number) => executed >= 4) as typeof fates.expires;
      await another();
    }
    expect(await batches(world)).toMatchObject([
      { failed_by_class: { server_error: 4, batch_expired: 6 } },
      {},
      {},
    ]);
    expect((await status(world)).state_reason).toContain('mostly with server_error');
  });

  it('neither counts nor forgives a batch that was refused for one line', async () => {
    await start();
    fates.allFail();
    await another(2);
    fates.isRejecting = true;
    await another(3);
    expect(await failures(world)).toContainEqual(expect.objectContaining({ error_class: 'invalid_request' }));
    expect(await state()).toBe('active');
    fates.isRejecting = false;
    await another();
    expect(await state()).toBe('paused');
  });

  it('lets no poison row stop its pipeline, however often its retries fail by themselves', async () => {
    await start();
    fates.of = (digit) => (digit === 7 ? 'fails' : 'is_well');
    await another();
    for (let time = 1; time <= 6; time += 1) await round(world);
    expect(await state()).toBe('active');
    expect(await status(world)).toMatchObject({ enriched: 9, retrying: 1 });
  });

  it('is not stopped by a single row that comes alone and always fails', async () => {
    await start();
    fates.allFail();
    await insertFilms(world.sql, 1, 1);
    for (let time = 1; time <= 6; time += 1) await round(world);
    expect(await state()).toBe('active');
  });

  it('counts rows that come one by one, and retries where all failed before', async () => {
    await start();
    fates.allFail();
    for (let film = 1; film <= 5; film += 1) {
      expect(await state()).toBe('active');
      await insertFilms(world.sql, film, film);
      await round(world);
    }
    expect(await state()).toBe('paused');
    await world.stop();
    await start();
    fates.allFail();
    await another();
    await round(world);
    await round(world);
    expect(await state()).toBe('paused');
  });

  it('does as the settings say', async () => {
    await start({ breaker_batches: 2, breaker_pass_ratio: 0.9, breaker_rows: 4 });
    for (const failing of [1, 1, 2]) await aloneWith(failing);
    expect(await state()).toBe('active');
    await aloneWith(2);
    expect(await state()).toBe('paused');
    expect((await status(world)).state_reason).toMatch(/^2 batches in a row failed/);
  });

  it('never pauses where nothing need pass', async () => {
    await start({ breaker_batches: 1, breaker_pass_ratio: 0 });
    fates.allFail();
    await another(4);
    expect(await state()).toBe('active');
  });

  it('counts anew after resume_pipeline', async () => {
    await start();
    fates.allFail();
    await another(3);
    expect(await state()).toBe('paused');
    await world.sql`select rowmill.resume_pipeline('films')`;
    expect(await status(world)).toMatchObject({ state: 'active', state_reason: null });
    await another(2);
    expect(await state()).toBe('active');
    await another();
    expect(await state()).toBe('paused');
    fates.of = () => 'is_well';
    await world.sql`select rowmill.resume_pipeline('films')`;
    await round(world);
    expect(await status(world)).toMatchObject({ enriched: last, retrying: 0, failed: 0 });
  });

  it('leaves every other pipeline alone', async () => {
    await start();
    await createFilms(world.sql, 'public.books');
    await createPipeline(world.sql, { name: 'books', source: 'public.books', prompt: 'Book: {{title}}' });
    const { outcome } = fates;
    fates.outcome = (batch, id, body) =>
      JSON.stringify(body).includes('Book: ') ? undefined : outcome(batch, id, body);
    fates.allFail();
    for (let time = 1; time <= 5; time += 1) {
      await insertFilms(world.sql, time * 10 + 1, time * 10 + 10, 'public.books');
      await another();
      const [books] = await world.sql`select * from rowmill.pipeline_status where name = 'books'`;
      expect(books).toMatchObject({ state: 'active', enriched: time * 10, pending: 0, waiting: 0 });
    }
    expect(await status(world)).toMatchObject({ state: 'paused', enriched: 0, batches: 3 });
  });
});
