import pino from 'pino';
import type postgres from 'postgres';
import { Webhook } from 'standardwebhooks';
import { readConfig } from '../src/config.ts';
import { startService } from '../src/service.ts';
import { createFaults } from '../src/simulator/create-faults.ts';
import { parseFault } from '../src/simulator/fault-rules.ts';
import { startSimulator } from '../src/simulator/simulator.ts';

const patienceMs = 120_000;
const secret = `whsec_${Buffer.from('for the length of a lint, no more').toString('base64')}`;

/**
 * A life in small: pipelines of each kind, rows that share a request, edits while an answer is on its way, failures, a
 * budget that is too small, versions, a cancelled batch. Whatever exists for a reason has been used afterwards, and what
 * pipelines generate is there to be looked at: they stay. With two workers over a simulator, each of which leaves.
 */
export async function runLintWorkload(sql: postgres.Sql, databaseUrl: string): Promise<void> {
  const simulator = await startSimulator({
    delays: { validatingMs: 300, perRequestMs: 20, finalizingMs: 300 },
    faults: createFaults(
      ['answer_refused;prompt=never', 'request_fails@1;status=500;prompt=once', 'expires@3;share=0.5'].map(
        parseFault,
      ),
    ),
  });
  const config = readConfig({
    DATABASE_URL: databaseUrl,
    OPENAI_API_KEY: 'lint',
    OPENAI_BASE_URL: simulator.url,
    PORT: '0',
    ROWMILL_INGEST_SECRET: secret,
    ROWMILL_TICK_CRON: '* * * * * *',
    ROWMILL_POLL_CRON: '* * * * * *',
  });
  const logger = pino({ level: process.env.LOG_LEVEL ?? 'warn', base: null });
  await sql`
    update rowmill.settings
    set poll_every = '100 milliseconds', fetch_after = '0 seconds', retry_after = '100 milliseconds'`;
  const workers = [await startService(config, logger), await startService(config, logger)];
  try {
    await Promise.all(workers.map((worker) => worker.ready));
    await declare(sql);
    await insert(sql);
    await editInFlight(sql);
    await runShort(sql, workers[0]!.url);
    await change(sql);
    await look(sql);
  } finally {
    for (const worker of workers) await worker.stop();
    await simulator.close();
  }
}

/** Tables as a careful owner of a Supabase project has them, and pipelines of each kind over them. */
async function declare(sql: postgres.Sql): Promise<void> {
  await sql.unsafe(`
    create table public.lint_films (
      id bigint generated always as identity primary key, title text, note text, summary text, genres text[]
    );
    create table public.lint_reviews (film text, author uuid, body text, verdict text, primary key (film, author));
    create table public.lint_verdicts (
      film text, author uuid, mood text, enriched_at timestamptz, model text, primary key (film, author)
    );
    create policy nobody on public.lint_films using (false);
    create policy nobody on public.lint_reviews using (false);
    create policy nobody on public.lint_verdicts using (false);
    alter table public.lint_films enable row level security;
    alter table public.lint_reviews enable row level security;
    alter table public.lint_verdicts enable row level security;

    select rowmill.create_pipeline(
      name => 'lint films', source => 'public.lint_films', instructions => 'Summarise.', prompt => 'Title: {{title}}',
      outputs => array['summary', 'genres'], model => 'gpt-4o-mini', filter => 'title is not null', chunk_size => 50,
      flush_after => '0 seconds', max_attempts => 2
    );
    select rowmill.create_pipeline(
      name => 'lint reviews', source => 'public.lint_reviews', instructions => null, prompt => 'Judge: {{body}}',
      outputs => array['verdict'], model => 'gpt-4.1-mini', format => 'text', flush_after => '0 seconds',
      budget_usd => 0.000001, daily_budget_usd => 5
    );
    select rowmill.create_pipeline(
      name => 'lint moods', source => 'public.lint_reviews', target => 'public.lint_verdicts', instructions => null,
      prompt => 'Mood of {{body}}', outputs => array['mood'], model => 'a model without a price',
      provenance => '{"enriched_at": "$completed_at", "model": "$model"}', flush_after => '0 seconds'
    );`);
}

async function insert(sql: postgres.Sql): Promise<void> {
  // Every title twice: such rows share a request.
  await sql`insert into public.lint_films (title) select 'Film ' || n / 2 from generate_series(1, 200) as n`;
  await sql`insert into public.lint_films (title) values ('never'), ('once')`;
  await sql`
    insert into public.lint_reviews (film, author, body)
    select 'Film ' || n, gen_random_uuid(), 'Review ' || n from generate_series(1, 60) as n`;
}

/** While rows are at the provider they are edited, there and back: what was answered meanwhile is remembered. */
async function editInFlight(sql: postgres.Sql): Promise<void> {
  await until(sql, 'a batch of films runs', async () => {
    const [row] =
      await sql`select from rowmill.batch_status where pipeline = 'lint films' and state = 'running'`;
    return row !== undefined;
  });
  await sql`update public.lint_films set title = title || ' (edited)' where id % 10 = 0`;
  await sql`update public.lint_films set title = title || ' (again)' where id % 10 = 0`;
  await sql`delete from public.lint_films where id % 50 = 7`;
  await settled(sql, 'lint films');
}

/** What the budget had no room for waits, though it be posted, and goes on when there is more. */
async function runShort(sql: postgres.Sql, workerUrl: string): Promise<void> {
  await until(sql, 'a chunk of reviews waits for the budget', async () => {
    const [row] = await sql`
      select from rowmill.pipeline_status where name = 'lint reviews' and waiting > 0 and waiting_reason is not null`;
    return row !== undefined;
  });
  const [chunk] = await sql`
    select c.id from rowmill.chunks as c join rowmill.pipelines as p on p.id = c.pipeline_id
    where p.name = 'lint reviews'`;
  const body = JSON.stringify({ chunk_id: Number(chunk!.id), pipeline: 'lint reviews' });
  const now = new Date();
  const answer = await fetch(`${workerUrl}/v1/chunks`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'webhook-id': 'lint',
      'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
      'webhook-signature': new Webhook(secret).sign('lint', now, body),
    },
    body,
  });
  if (!answer.ok)
    throw new Error(`expected the posted chunk to be taken, came ${answer.status} ${await answer.text()}`);
  await sql`select rowmill.alter_pipeline('lint reviews', reset => array['budget_usd'])`;
  await settled(sql, 'lint reviews');
}

async function change(sql: postgres.Sql): Promise<void> {
  await sql`select rowmill.alter_pipeline('lint films', prompt => 'Title: {{title}}. Note: {{note}}')`;
  await sql`select rowmill.re_enrich('lint films', where_version_below => 2)`;
  await sql`select rowmill.retry_failed('lint films')`;
  await sql`select rowmill.backfill('lint moods', only_missing => true)`;
  await settled(sql, 'lint films');

  await sql`insert into public.lint_films (title) select 'Late ' || n from generate_series(1, 50) as n`;
  const batch = await until(sql, 'a batch runs that can be cancelled', async () => {
    const [row] = await sql`select batch_id from rowmill.batch_status where state = 'running' limit 1`;
    return row?.batch_id;
  });
  await sql`select rowmill.cancel_batch(${batch})`;
  await settled(sql, 'lint films');
  await settled(sql, 'lint moods');
}

/** What an operator looks at. */
async function look(sql: postgres.Sql): Promise<void> {
  await sql`select * from rowmill.pipeline_status`;
  await sql`select * from rowmill.batch_status`;
  await sql`select * from rowmill.row_failures`;
  await sql`select * from rowmill.why('lint films', '1')`;
  await sql`select * from rowmill.preview_rows('lint films')`;
}

async function settled(sql: postgres.Sql, pipeline: string): Promise<void> {
  await until(sql, `"${pipeline}" is settled`, async () => {
    const [row] = await sql`
      select pending + waiting + in_flight + open_batches = 0 as is_settled
      from rowmill.pipeline_status where name = ${pipeline}`;
    return row?.is_settled === true;
  });
}

async function until<Value>(sql: postgres.Sql, what: string, look: () => Promise<Value>): Promise<Value> {
  const end = performance.now() + patienceMs;
  for (;;) {
    const value = await look();
    if (value) return value;
    if (performance.now() > end) {
      const status = await sql`
        select name, state, pending, waiting, in_flight, open_batches, waiting_reason, problem from rowmill.pipeline_status`;
      throw new Error(`expected within ${patienceMs / 1000} s that ${what}, came ${JSON.stringify(status)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
