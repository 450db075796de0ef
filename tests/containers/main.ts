import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import postgres from 'postgres';
import { GenericContainer, getContainerRuntimeClient, type StartedTestContainer, Wait } from 'testcontainers';
import { parse } from 'yaml';
import { inTime } from '../../src/in-time.ts';

const root = path.join(import.meta.dirname, '../..');
const password = 'postgres';
const enginePatienceMs = 10_000;
const startPatienceMs = 600_000; // the image is downloaded first
const hostName = 'host.docker.internal';

/**
 * Runs the end-to-end tests, and those that need the real pg_net, against Postgres as docker-compose.yml has it. Without a
 * container engine it says so and leaves with 0: what the tests say elsewhere holds all the same.
 */
async function main(): Promise<number> {
  const missing = await missingEngine();
  if (missing !== null) {
    process.stdout.write(
      `SKIPPED: the tests on Supabase's Postgres, with the real pg_net, need a container engine, and none answers here (${missing}). Start Docker, or set DOCKER_HOST, and run npm run test:containers again.\n`,
    );
    return 0;
  }
  const { services } = parse(await readFile(path.join(root, 'docker-compose.yml'), 'utf8'));
  const image: string = services.db.image;
  process.stdout.write(`starting ${image}\n`);
  const container = await startDatabase(image);
  try {
    const url = `postgres://supabase_admin:${password}@${container.getHost()}:${container.getMappedPort(5432)}/postgres`;
    await enableExtensions(url);
    const given = process.argv.slice(2);
    if (given.length > 0) return await runTests(url, given);
    const first = await runTests(url, ['tests/end-to-end', 'tests/containers/image.test.ts']);
    // In the one database that pg_net serves, which has one endpoint: one file after another.
    const second = await runTests(url, [
      '--no-file-parallelism',
      'tests/containers/pg-net.test.ts',
      'tests/sql/pg-net.test.ts',
    ]);
    return first || second;
  } finally {
    await container.stop();
  }
}

/** Why no container can be started; null: one can. */
async function missingEngine(): Promise<string | null> {
  try {
    await inTime(
      getContainerRuntimeClient(),
      enginePatienceMs,
      () => new Error(`no answer within ${enginePatienceMs / 1000} s`),
    );
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

async function startDatabase(image: string): Promise<StartedTestContainer> {
  return await new GenericContainer(image)
    .withEnvironment({ POSTGRES_PASSWORD: password })
    // The tests run several workers at once.
    .withCommand(['postgres', '-D', '/etc/postgresql', '-c', 'max_connections=200'])
    .withExposedPorts(5432)
    // Where pg_net finds the workers of the tests, which listen on this machine.
    .withExtraHosts([{ host: hostName, ipAddress: 'host-gateway' }])
    // The image's own gives up before the image has set itself up. Over TCP, as in docker-compose.yml.
    .withHealthCheck({
      test: ['CMD', 'pg_isready', '-U', 'postgres', '-h', 'localhost'],
      interval: 1000,
      timeout: 5000,
      retries: 180,
      startPeriod: 1000,
    })
    .withWaitStrategy(Wait.forHealthCheck())
    .withStartupTimeout(startPatienceMs)
    .start();
}

/** As deploy/compose/setup.sql does it, and as the same role. */
async function enableExtensions(url: string): Promise<void> {
  const asPostgres = new URL(url);
  asPostgres.username = 'postgres';
  const sql = postgres(asPostgres.href, { max: 1, onnotice: () => {} });
  try {
    const setup = await readFile(path.join(root, 'deploy/compose/setup.sql'), 'utf8');
    for (const [statement] of setup.matchAll(/^create extension .*$/gm)) await sql.unsafe(statement);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

async function runTests(url: string, what: string[]): Promise<number> {
  const vitest = path.join(root, 'node_modules/vitest/vitest.mjs');
  const child = spawn(process.execPath, [vitest, 'run', ...what], {
    cwd: root,
    stdio: 'inherit',
    env: {
      ...process.env,
      TEST_DATABASE_URL: url,
      TEST_CONTAINERS: '1',
      // The database of this server that pg_net serves, and how it finds a worker on this machine.
      TEST_PG_NET: '1',
      TEST_WORKER_HOST: hostName,
    },
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    process.exit(1);
  },
);
