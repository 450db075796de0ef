import path from 'node:path';
import { GenericContainer, Wait } from 'testcontainers';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.ts';

const root = path.join(import.meta.dirname, '../..');
const hostName = 'host.docker.internal';
const hasEngine = process.env.TEST_CONTAINERS === '1';

describe.skipIf(!hasEngine)('the image (npm run test:containers)', () => {
  let image: GenericContainer;
  let database: TestDatabase;
  let output = '';
  beforeAll(async () => {
    image = await GenericContainer.fromDockerfile(root).build('rowmill:test', { deleteOnExit: false });
    database = await createDatabase({ migrated: false });
  }, 600_000);
  beforeEach(() => {
    output = '';
  });
  afterAll(() => database?.drop());

  const configure = (environment: Record<string, string>) =>
    image
      .withEnvironment(environment)
      .withExtraHosts([{ host: hostName, ipAddress: 'host-gateway' }])
      .withLogConsumer((stream) => {
        stream.on('data', (data) => {
          output += data;
        });
      })
      .withStartupTimeout(120_000);

  /** The run's server as a container finds it: its port is open on this machine. */
  function urlInside(): string {
    const url = new URL(database.url);
    url.hostname = hostName;
    return url.href;
  }

  it('says what is missing, and leaves, where it is given no database', async () => {
    const container = configure({ OPENAI_API_KEY: 'test' }).withWaitStrategy(Wait.forOneShotStartup());
    await expect(container.start()).rejects.toThrow();
    await expect.poll(() => output, { timeout: 10_000 }).toContain('set DATABASE_URL');
    expect(output).not.toContain('    at ');
  });

  it('is healthy by its own check, migrates, runs as nobody in particular, and leaves within 10 s', async () => {
    const container = await configure({ DATABASE_URL: urlInside(), OPENAI_API_KEY: 'test' })
      .withExposedPorts(8787)
      .withWaitStrategy(Wait.forHealthCheck())
      .start();
    const ready = () => fetch(`http://${container.getHost()}:${container.getMappedPort(8787)}/readyz`);
    await expect.poll(async () => (await ready()).status, { timeout: 30_000 }).toBe(200);
    expect((await container.exec(['id', '-u'])).output.trim()).toBe('1000');
    expect(await database.sql`select from supabase_migrations.schema_migrations`).not.toHaveLength(0);
    const at = performance.now();
    await container.stop({ timeout: 60_000, remove: false });
    expect(performance.now() - at).toBeLessThan(10_000);
    expect(output).toContain('"msg":"stopped"');
  });
});
