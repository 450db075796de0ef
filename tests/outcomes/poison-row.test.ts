import { afterEach, describe, expect, it } from 'vitest';
import * as harvest from '../../src/jobs/harvest.ts';
import { batches, failures, options, passTime, queue, replaceCall, status } from '../jobs/job-world.ts';
import { createPipeline, type PipelineOptions } from '../support/sql-factories.ts';
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
import { answering } from './rewritten-answers.ts';

const films = 1000;
const poison = 777;
const prompt = `prompt=film ${poison}`;
const isPoison = (film: number) => film === poison;

let world: OutcomeWorld;
afterEach(() => world?.stop());

async function expectOthersEnriched(): Promise<void> {
  expect(await enrichedIds(world)).toEqual({
    with: range(1, films).filter((id) => !isPoison(id)),
    without: [poison],
  });
}

describe('one poison row among a thousand leaves 999 enriched:', () => {
  it('a request that the provider cannot take', async () => {
    world = await startOutcomeWorld({ faults: [`request_fails;code=context_length_exceeded;${prompt}`] });
    await firstRound(world, films);
    await expectOthersEnriched();
    expect(await rowFailures(world)).toMatchObject([
      { key: [poison], error_class: 'invalid_request', code: 'context_length_exceeded', attempts: 1 },
    ]);
    expect(world.simulator.ledger.summary()).toMatchObject({ executed: films, failed: 1, batchesCreated: 1 });
  });

  it('a request that the model declines', async () => {
    world = await startOutcomeWorld({ faults: [`answer_refused;${prompt}`] });
    await firstRound(world, films);
    await expectOthersEnriched();
    expect(await rowFailures(world)).toMatchObject([{ key: [poison], error_class: 'refused', attempts: 1 }]);
    expect(world.simulator.ledger.summary()).toMatchObject({ executed: films, failed: 0, batchesCreated: 1 });
  });
});

describe('a line for which the provider refuses its whole batch', () => {
  const fault = `fails_validation;code=missing_required_parameter;${prompt}`;

  it('fails its row for good; the 999 others go round at once, without a word, and are enriched', async () => {
    world = await startOutcomeWorld({ faults: [fault] });
    await firstRound(world, films);
    const final = {
      ...{ key: [poison], error_class: 'invalid_request', code: 'missing_required_parameter' },
      ...{ attempts: 1, is_final: true },
    };
    expect(await failures(world)).toEqual([final]);
    expect((await rowFailures(world))[0]!.message).toMatch(/^The provider refused its line of the batch: ./);
    expect(await status(world)).toMatchObject({ enriched: 0, pending: films - 1, retrying: 0, failed: 1 });
    const waiting = await world.sql`select 1 from rowmill.pending_keys where queued_at > now()`;
    expect(waiting).toHaveLength(0);
    expect(paid(world)).toBe(0);

    await round(world);
    await expectOthersEnriched();
    expect(await failures(world)).toEqual([final]);
    expect(await batches(world)).toMatchObject([
      { provider_status: 'failed', failed_by_class: { invalid_request: 1 } },
      { provider_status: 'completed', rows_enriched: films - 1, failed_by_class: {} },
    ]);
    expect(world.simulator.ledger.summary()).toMatchObject({ executed: films - 1, repeatedPrompts: 0 });
    await round(world);
    expect(world.simulator.ledger.batchesCreated).toBe(2);
  });

  it('fails every row that shares it', async () => {
    world = await startOutcomeWorld({ faults: [fault] });
    await world.sql`insert into films (id, title) values (2000, ${`film ${poison}`})`;
    await firstRound(world, films);
    expect(await rowFailures(world)).toMatchObject(
      [[poison], [2000]].map((key) => ({ key, error_class: 'invalid_request', attempts: 1 })),
    );
    await round(world);
    expect(await status(world)).toMatchObject({ enriched: films - 1, failed: 2, pending: 0 });
  });

  it('is named once, should the harvest break off behind it and begin anew', async () => {
    world = await startOutcomeWorld({ faults: [fault] });
    let isBroken = true;
    replaceCall(world.worker, 'finishHarvest', async function (this: unknown, original, ...args) {
      if (!isBroken) return await original(...args);
      isBroken = false;
      throw new Error('the worker broke off');
    });
    await firstRound(world, 20 + poison);
    expect(await batches(world)).toMatchObject([{ state: 'ended', rows_failed: 1 }]);
    await passTime(world);
    await harvest.runOnce(world.worker, options());
    expect(await batches(world)).toMatchObject([{ rows_failed: 20 + poison, lines_duplicate: 0 }]);
    expect(await failures(world)).toMatchObject([{ key: [poison], attempts: 1 }]);
  });

  it('cannot be told where the input file is gone: then the batch was refused as a whole', async () => {
    world = await startOutcomeWorld({ faults: [fault] });
    await queue(world, poison, poison + 9);
    await send(world);
    const { input_file_id: file } = (await batches(world))[0]!;
    await expect.poll(() => world.simulator.batches()[0]!.status).toBe('failed');
    const headers = { authorization: 'Bearer test' };
    await fetch(`${world.simulator.url}/files/${file}`, { method: 'DELETE', headers });
    await collect(world);
    expect(await failures(world)).toMatchObject(
      range(poison, poison + 9).map((id) => ({ key: [id], error_class: 'batch_rejected', attempts: 1 })),
    );
  });

  it('is not to blame where the code speaks of the whole batch', async () => {
    world = await startOutcomeWorld({ faults: ['fails_validation@1;code=model_not_found;line=7'] });
    await firstRound(world, 20);
    expect(await failures(world)).toMatchObject(
      range(1, 20).map(() => ({ error_class: 'batch_rejected', code: 'model_not_found', attempts: 1 })),
    );
  });
});

type Refusal = { name: string; prepare: string; column: string; good: unknown; bad: unknown; code: string };
const refusals: Refusal[] = [
  {
    ...{ name: 'a number out of range', prepare: '', column: 'score' },
    ...{ good: 7, bad: 99_999_999_999, code: '22003' },
  },
  {
    ...{ name: 'a check constraint', prepare: 'alter table films add check (score < 100)', column: 'score' },
    ...{ good: 7, bad: 100, code: '23514' },
  },
  {
    name: 'a foreign key',
    prepare: `create table scores (score integer primary key); insert into scores values (7);
      alter table films add foreign key (score) references scores`,
    ...{ column: 'score', good: 7, bad: 8, code: '23503' },
  },
  {
    name: 'a stranger to an enum',
    prepare: "create type mood as enum ('glad', 'sad'); alter table films add column mood mood",
    ...{ column: 'mood', good: 'glad', bad: 'furious', code: '22P02' },
  },
];

describe('an answer that Postgres refuses fails its row alone, its neighbours in the same slice are written:', () => {
  it.each(refusals)('$name', async ({ prepare, column, good, bad, code }) => {
    world = await startOutcomeWorld({
      faults: answering((film) => ({ summary: `of ${film}`, [column]: isPoison(film) ? bad : good })),
    });
    await world.sql.unsafe(`select rowmill.drop_pipeline('films'); ${prepare}`);
    const anything: PipelineOptions['output_schema'] = {
      type: 'object',
      properties: { summary: { type: 'string' }, [column]: {} },
    };
    await createPipeline(world.sql, { outputs: ['summary', column], output_schema: anything });
    await firstRound(world, films);
    await expectOthersEnriched();
    expect(await failures(world)).toEqual([
      { key: [poison], error_class: 'type_mismatch', code, attempts: 1, is_final: false },
    ]);
    expect(await batches(world)).toMatchObject([
      { requests: films, rows_enriched: films - 1, rows_failed: 1, failed_by_class: { type_mismatch: 1 } },
    ]);
    await round(world);
    await round(world);
    expect(await rowFailures(world)).toMatchObject([
      { key: [poison], error_class: 'type_mismatch', code, attempts: 3 },
    ]);
    expect((await rowFailures(world))[0]!.message).toMatch(/^Postgres refused the answer: ./);
    expect(paid(world)).toBe(films + 2);
    await expectOthersEnriched();
  });
});
