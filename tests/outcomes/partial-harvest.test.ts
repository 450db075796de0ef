import { afterEach, describe, expect, it } from 'vitest';
import { batches, failures, status } from '../jobs/job-world.ts';
import {
  enrichedIds,
  firstRound,
  type OutcomeWorld,
  paid,
  range,
  round,
  startOutcomeWorld,
} from './outcome-world.ts';

const films = 1000;

let world: OutcomeWorld;
afterEach(() => world?.stop());

describe('a batch that ends with 700 of 1,000 done pays for each row once:', () => {
  it.each([
    ['expires', 'expired', 'batch_expired'],
    ['cancels', 'cancelled', 'batch_cancelled'],
  ])('it %s', async (fault, ending, errorClass) => {
    world = await startOutcomeWorld({ faults: [`${fault}@1;share=0.7`] });
    await firstRound(world, films);
    expect(await enrichedIds(world)).toEqual({ with: range(1, 700), without: range(701, films) });
    expect(await status(world)).toMatchObject({ enriched: 700, pending: 300, retrying: 300, failed: 0 });
    expect(await failures(world)).toEqual(
      range(701, films).map((id) => ({
        ...{ key: [id], error_class: errorClass, code: errorClass, attempts: 0, is_final: false },
      })),
    );
    expect(await batches(world)).toMatchObject([
      {
        ...{ provider_status: ending, requests: films, rows_enriched: 700, rows_failed: 300 },
        ...{ billed_requests: 700, failed_by_class: { [errorClass]: 300 } },
        input_tokens: world.simulator.ledger.inputTokens,
      },
    ]);
    expect(paid(world)).toBe(700);

    await round(world);
    expect(await enrichedIds(world)).toMatchObject({ without: [] });
    expect(await failures(world)).toEqual([]);
    expect((await batches(world))[1]).toMatchObject({ requests: 300, rows_enriched: 300 });
    expect(paid(world)).toBe(films);
    expect(world.simulator.ledger.summary()).toMatchObject({
      ...{ executed: films, failed: 0, repeatedPrompts: 0, batchesCreated: 2, filesHeld: 0 },
    });
    const [spent] = await world.sql`
      select sum(input_tokens)::integer as input, sum(output_tokens)::integer as output from rowmill.batch_status`;
    const { inputTokens, outputTokens } = world.simulator.ledger;
    expect(spent).toEqual({ input: inputTokens, output: outputTokens });
  });
});

it('a batch that failed costs nothing', async () => {
  world = await startOutcomeWorld({ faults: ['fails_validation@1;code=empty_file'] });
  await firstRound(world, films);
  expect(paid(world)).toBe(0);
  const [batch] = await world.sql`select spent_usd, reserved_usd, input_tokens from rowmill.batch_status`;
  expect(batch).toEqual({ spent_usd: '0.000000', reserved_usd: '0.000000', input_tokens: 0 });
  await round(world);
  expect(await status(world)).toMatchObject({ enriched: films, retrying: 0 });
  expect(world.simulator.ledger.summary()).toMatchObject({ executed: films, repeatedPrompts: 0 });
});

describe.each([
  ['null', [] as string[]],
  ['an empty text', ['empty_ids']],
])('where the id of a file that is not there is %s', (_name, faults) => {
  it('the error file is read although there is no output file', async () => {
    world = await startOutcomeWorld({ faults: ['request_fails;status=400', ...faults] });
    await firstRound(world, 20);
    expect(await failures(world)).toMatchObject(
      range(1, 20).map((id) => ({ key: [id], error_class: 'invalid_request', is_final: true })),
    );
    expect(await batches(world)).toMatchObject([{ state: 'done', output_position: 0, problem: null }]);
    expect(world.simulator.ledger.filesHeld()).toBe(0);
  });

  it('an expired batch in which nothing was done is read as well', async () => {
    world = await startOutcomeWorld({ faults: ['expires@1;share=0', ...faults] });
    await firstRound(world, 20);
    expect(await failures(world)).toMatchObject(
      range(1, 20).map(() => ({ error_class: 'batch_expired', code: 'batch_expired', attempts: 0 })),
    );
    await round(world);
    expect(await status(world)).toMatchObject({ enriched: 20, retrying: 0 });
  });

  it('the output file is read although there is no error file', async () => {
    world = await startOutcomeWorld({ faults });
    await firstRound(world, 20);
    expect(await status(world)).toMatchObject({ enriched: 20, problem: null });
    expect(await batches(world)).toMatchObject([{ state: 'done', error_position: 0 }]);
  });

  it('neither is there: every row goes round', async () => {
    world = await startOutcomeWorld({ faults: ['no_output_file@1', ...faults] });
    await firstRound(world, 20);
    expect(await failures(world)).toMatchObject(
      range(1, 20).map(() => ({ error_class: 'missing', attempts: 1 })),
    );
    // What was done is paid for, and known from what the provider says of the batch.
    const [batch] = await world.sql`select input_tokens, output_tokens from rowmill.batch_status`;
    const { inputTokens, outputTokens } = world.simulator.ledger;
    expect(batch).toEqual({ input_tokens: inputTokens, output_tokens: outputTokens });
  });
});
