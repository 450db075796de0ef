import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import path from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { price } from '../../examples/demo/cost.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { waitFor } from '../support/service.ts';

const script = path.join(import.meta.dirname, '..', '..', 'examples', 'demo.ts');

let database: TestDatabase;
beforeEach(async () => {
  database = await createDatabase();
});
afterEach(() => database?.drop());

type Run = { code: number | null; out: string; err: string };

function start(args: string[], env: Record<string, string> = {}) {
  const { OPENAI_API_KEY: _key, OPENAI_BASE_URL: _url, ...inherited } = process.env;
  const child = spawn(process.execPath, [script, ...args], {
    env: { ...inherited, DATABASE_URL: database.url, PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const run: Run = { code: null, out: '', err: '' };
  child.stdout.on('data', (data) => {
    run.out += stripVTControlCharacters(String(data));
  });
  child.stderr.on('data', (data) => {
    run.err += String(data);
  });
  const ended = new Promise<Run>((resolve) => {
    child.once('close', (code) => resolve(Object.assign(run, { code })));
  });
  return { child, run, ended };
}

const demo = (args: string[], env?: Record<string, string>) => start(args, env).ended;

async function enriched(): Promise<number> {
  const [row] = await database.sql`
    select count(*) as count from public.imdb_dataset where categories is not null and summary is not null
  `;
  return row?.count;
}

/** From the moment in which the demo creates its table, this film's summary cannot be written, nor is it retried. */
async function makeImpossible(title: string): Promise<void> {
  await database.sql.unsafe(`
    create function public.spoil() returns event_trigger language plpgsql as $$
    begin
      if to_regclass('public.imdb_dataset') is not null then
        alter table public.imdb_dataset
          add constraint never_summarized check ("Title" <> '${title}' or summary is null);
      end if;
    end $$;
    create function public.once() returns trigger language plpgsql as $$
    begin
      new.max_attempts := 1;
      return new;
    end $$;
    create trigger once before insert on rowmill.pipelines for each row execute function public.once();
    create event trigger spoil on ddl_command_end when tag in ('CREATE TABLE') execute function public.spoil();
  `);
}

describe('the demo with --exit', () => {
  test('enriches every row, shows some, and leaves with 0, as often as it is run', async () => {
    await database.sql`update rowmill.settings set poll_every = '1 minute'`;
    for (const rows of [300, 40]) {
      const { code, out, err } = await demo(['--exit', '--rows', String(rows)]);
      expect({ code, err }).toEqual({ code: 0, err: '' });
      expect(await enriched()).toBe(rows);
      expect(out).toContain(`${rows} of ${rows} enriched`);
      expect(out).toContain('simulated, nothing was paid');
      expect(out).toMatch(/Title +categories +summary/);
    }
    const [settings] = await database.sql`select poll_every::text from rowmill.settings`;
    expect(settings?.poll_every).toBe('00:01:00');
  });

  test('leaves with 1 and names the row that is not enriched', async () => {
    await makeImpossible('The Kid');
    const { code, out } = await demo(['--exit', '--rows', '300']);
    expect(code).toBe(1);
    expect(await enriched()).toBe(299);
    expect(out).toContain('299 of 300 enriched');
    expect(out).toMatch(
      /1 row not enriched\s+2 The Kid: It failed after one attempt, .*: type_mismatch: .*never_summarized/s,
    );
  });

  test('gives up after --timeout, leaves with 1 and says what is pending', async () => {
    // Nothing beats within the second.
    const yearly = '0 0 0 1 1 *';
    const env = { ROWMILL_TICK_CRON: yearly, ROWMILL_POLL_CRON: yearly };
    const { code, err } = await demo(['--exit', '--rows', '50', '--timeout', '1'], env);
    expect(code).toBe(1);
    expect(err).toMatch(/Not done after 1 s: of 50 rows 0 are enriched/);
    expect(err).toContain('50 pending');
  });
});

describe('the demo without --exit', () => {
  test('stays up until it is asked to stop, says what happens meanwhile, and leaves with 0', async () => {
    const { child, run, ended } = start(['--rows', '20']);
    await waitFor('the end of the show', async () => run.out.includes('Ctrl-C stops the demo'));
    const docs = /http:\S+\/docs/.exec(run.out)?.[0] ?? '';
    expect((await fetch(docs)).status).toBe(200);
    await database.sql`insert into public.imdb_dataset ("Title", "Description") values ('New', 'A new one.')`;
    await waitFor('the word on the new row', async () => run.out.includes('1 row enriched'));
    expect(await enriched()).toBe(21);
    child.kill('SIGINT');
    expect((await ended).code).toBe(0);
  });

  test('stopped before it is through, it leaves with 130 and nothing running', async () => {
    const yearly = '0 0 0 1 1 *';
    const { child, run, ended } = start(['--rows', '20'], { ROWMILL_TICK_CRON: yearly });
    await waitFor('the bars', async () => run.out.includes('queued'));
    child.kill('SIGINT');
    child.kill('SIGINT');
    expect((await ended).code).toBe(130);
    expect(run.out).toContain('stopped');
  });
});

test('the demo takes a free port where the default one is taken', async () => {
  const server = createServer();
  // Where somebody else has it already, that will do.
  await new Promise<void>((resolve) => {
    server.once('error', () => resolve());
    server.listen(8787, '127.0.0.1', resolve);
  });
  const { code, out } = await demo(['--exit', '--rows', '5'], { PORT: '' });
  server.close();
  expect(code).toBe(0);
  expect(out).toMatch(/http:\/\/127\.0\.0\.1:\d+ \(8787 is taken\)/);
});

describe('the demo refuses', () => {
  test.each([
    [['--rows', '0'], /--rows takes a whole number/],
    [['--rows', '1e3'], /--rows takes a whole number/],
    [['--row', '3'], /Unknown option '--row'/],
    [['films.csv'], /Unexpected argument 'films.csv'/],
  ])('the flags %j', async (args, message) => {
    const { code, out, err } = await demo(args);
    expect(code).toBe(1);
    expect(out).toBe('');
    expect(err).toMatch(message);
    expect(err).not.toMatch(/\n\s+at /);
  });

  test('a table that it did not make, which stays as it is', async () => {
    await database.sql`create table public.imdb_dataset (id bigint primary key, mine text)`;
    await database.sql`insert into public.imdb_dataset values (1, 'precious')`;
    const { code, err } = await demo(['--exit', '--rows', '5']);
    expect(code).toBe(1);
    expect(err).toMatch(/imdb_dataset exists, and the demo did not make it/);
    expect([...(await database.sql`select * from public.imdb_dataset`)]).toEqual([
      { id: 1, mine: 'precious' },
    ]);
  });

  test('a database with pipelines of somebody else, whose rows it would answer', async () => {
    await database.sql`create table public.notes (id bigint primary key, body text, gist text)`;
    await database.sql`
      select rowmill.create_pipeline('notes', 'public.notes', null, '{{body}}', array['gist'], 'gpt-4o-mini')
    `;
    const { code, err } = await demo(['--exit', '--rows', '5']);
    expect(code).toBe(1);
    expect(err).toMatch(/other pipelines \(notes\)/);
  });

  test('a PORT that is taken', async () => {
    const server = createServer();
    const port = await new Promise<number>((resolve) => {
      server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
    });
    const { code, err } = await demo(['--exit', '--rows', '5'], { PORT: String(port) });
    server.close();
    expect(code).toBe(1);
    expect(err).toContain(`PORT: ${port} is taken`);
  });

  test('to pay without somebody who agreed, having said what it costs', async () => {
    // Were it to ask anybody after all, nobody would be there.
    const env = { OPENAI_API_KEY: 'sk-nobody', OPENAI_BASE_URL: 'http://127.0.0.1:9/v1' };
    const { code, out, err } = await demo(['--exit'], env);
    expect(code).toBe(1);
    expect(out).toMatch(/559 films cost about \$0\.0\d+/);
    expect(err).toContain('--yes');
    const [table] = await database.sql`select to_regclass('public.imdb_dataset') as found`;
    expect(table?.found).toBeNull();
  });
});

test('the price of the estimate is the price that is billed', async () => {
  const [row] = await database.sql`
    select input_usd::float8 as "inputUsd", output_usd::float8 as "outputUsd", batch_share::float8 as "batchShare"
    from rowmill.model_prices where model = ${price.model}
  `;
  expect({ model: price.model, ...row }).toEqual(price);
});
