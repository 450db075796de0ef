import type postgres from 'postgres';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { createFilms, createPipeline } from '../support/sql-factories.ts';

describe('batches that give trouble are taken apart from the others', () => {
  let sql: postgres.Sql;
  let drop: () => Promise<void>;
  beforeEach(async () => {
    const database = await createDatabase();
    ({ sql } = database);
    drop = () => database.drop();
    await sql`update rowmill.settings set poll_every = '10 seconds', lease = '1 minute'`;
    for (const name of ['good', 'bad']) {
      await createFilms(sql, name);
      await createPipeline(sql, { name, source: name });
    }
  });
  afterEach(() => drop());

  /** Batches of a pipeline, as many as marks: what it was tried, or what went wrong at the last look. */
  async function add(
    pipeline: string,
    state: 'running' | 'ended',
    marks: (number | string)[],
  ): Promise<void> {
    for (const mark of marks) {
      await sql`
        insert into rowmill.batch_processing_details (
          key, pipeline_id, pipeline_version, model, endpoint, state, requests, bytes, provider_batch_id, provider_status,
          submitted_at, poll_at, ended_at, tries, problem
        )
        select p.name || ${`${state} `} || coalesce(max(b.id), 0), p.id, p.version, p.model, p.endpoint, ${state}, 1, 1,
          p.name || ${`${state} `} || coalesce(max(b.id), 0), 'completed', now(), now(),
          case when ${state} = 'ended' then now() end, ${typeof mark === 'number' ? mark : 0},
          ${typeof mark === 'string' ? mark : null}
        from rowmill.pipelines as p
        left join rowmill.batch_processing_details as b on true
        where p.name = ${pipeline}
        group by p.id`;
    }
  }
  /** What is claimed, by pipeline. */
  async function ended(again: boolean | null, max = 100): Promise<Record<string, number>> {
    return counted(
      await sql`
        select p.name from rowmill.claim_ended_batches('w', ${max}, ${again}) as c
        join rowmill.pipelines as p on p.id = c.pipeline_id`,
    );
  }
  async function due(again: boolean | null, together = 1000): Promise<Record<string, number>> {
    return counted(
      await sql`
        select p.name from rowmill.claim_due_polls(100, ${together}, ${again}) as c
        join rowmill.pipelines as p on p.id = c.pipeline_id`,
    );
  }
  function counted(rows: Record<string, unknown>[]): Record<string, number> {
    const groups = Object.entries(Object.groupBy(rows, (row) => String(row.name)));
    return Object.fromEntries(groups.map(([name, some]) => [name, some!.length]));
  }

  it('a harvest that broke off before, and not its neighbours', async () => {
    await add('good', 'ended', [0, 1, 0]);
    expect(await ended(false)).toEqual({ good: 2 });
    expect(await ended(false)).toEqual({});
    expect(await ended(true)).toEqual({ good: 1 });
  });

  it('all of a pipeline of which three broke off', async () => {
    await add('bad', 'ended', [1, 2, 0, 1]);
    await add('good', 'ended', [0]);
    expect(await ended(false)).toEqual({ good: 1 });
    expect(await ended(true)).toEqual({ bad: 4 });
  });

  it('all of a pipeline whose last batch brought almost no answers, until one brings some', async () => {
    await add('bad', 'ended', [0]);
    await add('good', 'ended', [0]);
    await sql`update rowmill.pipelines set failed_in_row = 1 where name = 'bad'`;
    expect(await ended(false)).toEqual({ good: 1 });
    await sql`update rowmill.pipelines set failed_in_row = 0`;
    expect(await ended(true)).toEqual({});
    expect(await ended(false)).toEqual({ bad: 1 });
  });

  it('and who asks for all gets all, pipelines by turns', async () => {
    await add('bad', 'ended', [1, 1, 1, 0]);
    await add('good', 'ended', [0]);
    await ended(true, 1);
    expect(await ended(null, 1)).toEqual({ good: 1 });
    expect(await ended(null)).toEqual({ bad: 3 });
  });

  it('a look that failed, and all of a pipeline at which three did', async () => {
    await add('good', 'running', [0, 'slow']);
    await add('bad', 'running', ['slow', 'slow', 'slow', 0]);
    expect(await due(false)).toEqual({ good: 1 });
    expect(await due(true)).toEqual({ good: 1, bad: 4 });
    expect(await due(null)).toEqual({});
  });

  it('and what comes along with others that are due is of their kind', async () => {
    await add('good', 'running', [0, 0, 0, 'slow']);
    await sql`update rowmill.batch_processing_details set poll_at = now() + interval '2 seconds' where id > 2`;
    expect(await due(true, 1)).toEqual({});
    expect(await due(false, 2)).toEqual({ good: 3 });
  });
});
