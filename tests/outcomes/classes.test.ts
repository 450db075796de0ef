import { afterEach, describe, expect, it } from 'vitest';
import { errorClasses } from '../../src/pipeline/error-classes.ts';
import { failures, queue, status } from '../jobs/job-world.ts';
import { type FaultClass, type Scenario, scenarios } from './class-scenarios.ts';
import {
  collect,
  enrichedIds,
  firstRound,
  type OutcomeWorld,
  paid,
  range,
  round,
  rowFailures,
  send,
  startOutcomeWorld,
} from './outcome-world.ts';

const films = 20;
const classes = Object.keys(scenarios) as FaultClass[];
const withCourse = (...courses: Scenario['course'][]) =>
  classes.filter((name) => courses.includes(scenarios[name].course));

let world: OutcomeWorld;
afterEach(() => world?.stop());

const spared = (name: FaultClass) => range(1, films).filter((id) => !scenarios[name].struck.includes(id));
const prompt = 'Title: film 7';

async function resume(): Promise<void> {
  await world.sql`select rowmill.resume_pipeline('films')`;
}

it('every error class has a scenario, or is one of the two that no fault brings about', () => {
  expect([...classes, 'stale_input', 'row_gone'].sort()).toEqual(Object.keys(errorClasses).sort());
});

describe('a row that fails once is noted, goes round and is enriched, and its failure is gone:', () => {
  it.each(withCourse('counted', 'uncounted'))('%s', async (name) => {
    const { course, once, struck, code, isPaid } = scenarios[name];
    world = await startOutcomeWorld({ faults: once });
    await firstRound(world, films);
    expect(await failures(world)).toEqual(
      struck.map((id) => ({
        ...{ key: [id], error_class: name, code, attempts: course === 'counted' ? 1 : 0, is_final: false },
      })),
    );
    expect(await rowFailures(world)).toEqual([]);
    expect(await enrichedIds(world)).toEqual({ with: spared(name), without: struck });
    expect(await status(world)).toMatchObject({
      ...{ enriched: spared(name).length, retrying: struck.length, pending: struck.length, failed: 0 },
      state: name === 'quota_exhausted' ? 'paused' : 'active',
    });

    if (name === 'quota_exhausted') {
      // Nothing more is sent until somebody has paid.
      await round(world);
      expect(world.simulator.ledger.batchesCreated).toBe(1);
      expect((await status(world)).state_reason).toMatch(
        /^quota_exhausted: .*select rowmill\.resume_pipeline\('films'\);$/,
      );
      await resume();
      expect(await status(world)).toMatchObject({ state: 'active', state_reason: null });
    }
    await round(world);
    expect(await failures(world)).toEqual([]);
    expect((await enrichedIds(world)).without).toEqual([]);
    expect(await status(world)).toMatchObject({ ...{ enriched: films, retrying: 0, pending: 0, failed: 0 } });
    expect(paid(world)).toBe(isPaid ? films + struck.length : films);
    expect(world.simulator.ledger.summary()).toMatchObject({ unexplainedRepeats: 0 });
  });
});

describe('a row that fails at every attempt is final after three of them:', () => {
  it.each(withCourse('counted'))('%s', async (name) => {
    const { ever, struck, code, isPaid } = scenarios[name];
    world = await startOutcomeWorld({ faults: ever });
    await firstRound(world, films);
    await round(world);
    expect(await failures(world)).toMatchObject(struck.map(() => ({ attempts: 2, is_final: false })));
    await round(world);
    expect(await rowFailures(world)).toMatchObject(
      struck.map((id) => ({ key: [id], error_class: name, code, attempts: 3 })),
    );
    expect(await enrichedIds(world)).toEqual({ with: spared(name), without: struck });
    expect(await status(world)).toMatchObject({ failed: struck.length, retrying: 0, pending: 0, waiting: 0 });
    expect(paid(world)).toBe(spared(name).length + (isPaid ? 3 * struck.length : 0));
    expect(world.simulator.ledger.timesPrompted(prompt)).toBe(isPaid ? 3 : 0);

    await resume(); // should the breaker have stopped it
    await round(world);
    expect(world.simulator.ledger.batchesCreated).toBe(3);
  });
});

describe('a class that costs no attempt goes round for as long as it takes:', () => {
  it.each(withCourse('uncounted'))('%s', async (name) => {
    const { ever, code } = scenarios[name];
    world = await startOutcomeWorld({ faults: ever });
    await queue(world, 1, films);
    // One round more than there are attempts.
    for (let rounds = 0; rounds < 4; rounds += 1) {
      await resume();
      await round(world);
    }
    const left = await failures(world);
    expect(left.length).toBeGreaterThan(0);
    expect(left).toEqual(
      left.map(({ key }) => ({ key, error_class: name, code, attempts: 0, is_final: false })),
    );
    expect(await rowFailures(world)).toEqual([]);
    expect(await status(world)).toMatchObject({ pending: left.length, enriched: films - left.length });
    expect(world.simulator.ledger.batchesCreated).toBe(4);
  });
});

describe('a class that is final stands in row_failures at once, and is not sent again:', () => {
  it.each(withCourse('final'))('%s', async (name) => {
    const { once, struck, code, isPaid } = scenarios[name];
    world = await startOutcomeWorld({ faults: once });
    await firstRound(world, films);
    expect(await rowFailures(world)).toMatchObject(
      struck.map((id) => ({ key: [id], error_class: name, code, attempts: 1 })),
    );
    expect(await enrichedIds(world)).toEqual({ with: spared(name), without: struck });
    expect(await status(world)).toMatchObject({ failed: struck.length, retrying: 0, pending: 0, waiting: 0 });
    await round(world);
    expect(world.simulator.ledger.batchesCreated).toBe(1);
    expect(paid(world)).toBe(isPaid ? films : films - struck.length);
  });
});

describe('a race with whoever edits the table is no failure:', () => {
  async function sent(): Promise<void> {
    world = await startOutcomeWorld();
    await queue(world, 1, films);
    await send(world);
  }

  it('stale_input: the answer to the old input is refused, and the new one is enriched', async () => {
    await sent();
    await world.sql`update films set title = 'another film' where id = 7`;
    await collect(world);
    expect(await status(world)).toMatchObject({
      enriched: films - 1,
      stale: 1,
      gone: 0,
      failed: 0,
      retrying: 0,
    });
    expect(await enrichedIds(world)).toMatchObject({ without: [7] });
    expect(await failures(world)).toEqual([]);
    await round(world);
    expect(await enrichedIds(world)).toMatchObject({ without: [] });
    expect(await status(world)).toMatchObject({ enriched: films, stale: 1, pending: 0 });
    expect(world.simulator.ledger.timesPrompted('Title: another film')).toBe(1);
    expect(world.simulator.ledger.summary()).toMatchObject({ executed: films + 1, repeatedPrompts: 0 });
  });

  it('row_gone: the answer has nowhere to go, and nothing is sent again', async () => {
    await sent();
    await world.sql`delete from films where id = 7`;
    await collect(world);
    expect(await status(world)).toMatchObject({
      enriched: films - 1,
      stale: 0,
      gone: 1,
      failed: 0,
      retrying: 0,
    });
    expect(await failures(world)).toEqual([]);
    await round(world);
    expect(world.simulator.ledger.summary()).toMatchObject({ executed: films, batchesCreated: 1 });
  });

  it('a request that fails while its row is edited is no failure of the new input', async () => {
    world = await startOutcomeWorld({ faults: [`request_fails;status=400;prompt=film 7`] });
    await queue(world, 1, films);
    await send(world);
    await world.sql`update films set title = 'another film' where id = 7`;
    await collect(world);
    expect(await failures(world)).toEqual([]);
    await round(world);
    expect(await enrichedIds(world)).toMatchObject({ without: [] });
  });
});
