import { beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { createDatabase } from '../support/database.ts';
import { hasRoute, read, readYaml, variables } from './files.ts';

type Service = {
  image: string;
  build?: string;
  pull_policy?: string;
  command?: string[];
  environment?: Record<string, string>;
  ports?: string[];
  volumes?: string[];
  depends_on?: Record<string, { condition: string }>;
  container_name?: string;
  init?: boolean;
  stop_grace_period?: string;
};

/** As Compose does it: `${NAME:-default}`. */
function interpolate(text: string, env: Record<string, string>): string {
  return text.replaceAll(
    /\$\{(\w+)(?::-([^}]*))?\}/g,
    (_, name: string, fallback = '') => env[name] || fallback,
  );
}

describe('docker-compose.yml', () => {
  let services: Record<string, Service>;
  let volumes: string[];
  beforeAll(async () => {
    const [file] = await readYaml<{ services: Record<string, Service>; volumes: object }>(
      'docker-compose.yml',
    );
    services = file!.services;
    volumes = Object.keys(file!.volumes);
  });
  const environmentOf = (service: string, env: Record<string, string> = {}) =>
    Object.fromEntries(
      Object.entries(services[service]!.environment ?? {}).map(([name, value]) => [
        name,
        interpolate(value, env),
      ]),
    );
  const hosts = (texts: string[]) =>
    texts.flatMap((text) => [...text.matchAll(/(?:https?:\/\/|@)([a-z]+):\d+/g)].map(([, host]) => host));

  it('gives workers an environment that they take', async () => {
    const known = await variables();
    for (const service of ['worker', 'migrate']) {
      expect(Object.keys(services[service]!.environment!).filter((name) => !known.includes(name))).toEqual(
        [],
      );
      expect(readConfig(environmentOf(service))).toMatchObject({ HOST: '127.0.0.1', PORT: 8787 });
    }
  });

  it('has one simulator answer all workers where there is no key, and OpenAI where there is one', () => {
    const without = readConfig(environmentOf('worker'));
    expect(without.OPENAI_API_KEY).toBeUndefined();
    const port = services.simulator!.command!.find((part) => part.startsWith('--port='))!.slice(7);
    expect(without.ROWMILL_SIMULATOR_URL).toBe(`http://simulator:${port}/v1`);
    const withKey = readConfig(environmentOf('worker', { OPENAI_API_KEY: 'sk-x' }));
    expect(withKey).toMatchObject({ OPENAI_API_KEY: 'sk-x' });
    expect(withKey.OPENAI_BASE_URL).toBeUndefined();
  });

  it('signs with the secrets that the worker checks by, given ones and its own', () => {
    for (const env of [{}, { ROWMILL_INGEST_SECRET: 'whsec_aaaa', OPENAI_WEBHOOK_SECRET: 'whsec_bbbb' }]) {
      const worker = environmentOf('worker', env);
      expect(environmentOf('setup', env).ROWMILL_INGEST_SECRET).toBe(worker.ROWMILL_INGEST_SECRET);
      const command = services.simulator!.command!.map((part) => interpolate(part, env));
      expect(command).toContain(`--webhook-secret=${worker.OPENAI_WEBHOOK_SECRET}`);
    }
  });

  it('reaches workers where they listen, at routes that exist', async () => {
    const url = new URL(services.setup!.environment!.ROWMILL_WORKER_URL!);
    expect(url.host).toBe(`worker:${readConfig({}).PORT}`);
    const hook = services.simulator!.command!.find((part) => part.startsWith('--webhook-url='))!;
    expect(new URL(hook.slice(14)).host).toBe(url.host);
    expect(await hasRoute(new URL(hook.slice(14)).pathname, 'POST')).toBe(true);
    expect(await hasRoute('/v1/chunks', 'POST')).toBe(true);
  });

  it('names hosts, services and volumes that are there', () => {
    const named = Object.values(services);
    const texts = named.flatMap(({ command = [], environment = {} }) => [
      ...command,
      ...Object.values(environment),
    ]);
    expect(hosts(texts).length).toBeGreaterThan(4);
    expect(hosts(texts).filter((host) => !(host! in services))).toEqual([]);
    expect(
      named.flatMap(({ depends_on = {} }) => Object.keys(depends_on)).filter((name) => !(name in services)),
    ).toEqual([]);
    const mounted = named.flatMap(({ volumes: list = [] }) => list.map((volume) => volume.split(':')[0]!));
    expect(mounted.filter((name) => !name.startsWith('./')).toSorted()).toEqual(volumes.toSorted());
  });

  it('lets workers be many: no name and no single port of their own', () => {
    const { container_name, ports } = services.worker!;
    expect(container_name).toBeUndefined();
    expect(ports!.map((port) => interpolate(port, {}))).toEqual([
      expect.stringMatching(/^127\.0\.0\.1:(\d+)-(\d+):8787$/),
    ]);
  });

  it('builds one image, once, for all that run it', () => {
    const own = Object.entries(services).filter(([, { image }]) => image.startsWith('rowmill:'));
    expect(own.map(([name]) => name).toSorted()).toEqual(['migrate', 'simulator', 'worker']);
    expect(own.filter(([, { build }]) => build !== undefined).map(([name]) => name)).toEqual(['migrate']);
    expect(own.map(([, { pull_policy }]) => pull_policy).toSorted()).toEqual(['build', 'never', 'never']);
  });

  it('gives a worker more time than it takes to leave', () => {
    expect(Number.parseInt(services.worker!.stop_grace_period!, 10)).toBeGreaterThan(10);
  });

  it('opens ports to this machine alone, since its secrets are known', () => {
    for (const port of Object.values(services).flatMap(({ ports = [] }) => ports)) {
      expect(interpolate(port, {})).toMatch(/^127\.0\.0\.1:/);
    }
  });

  it('pins the image of the database, one for server and psql, as its own superuser has it', () => {
    expect(services.db!.image).toMatch(/^supabase\/postgres:\d+\.\d+\.\d+\.\d+$/);
    expect(services.setup!.image).toBe(services.db!.image);
    expect(services.db!.environment).not.toHaveProperty('POSTGRES_USER');
  });

  it('is explained by .env.example: every variable that it reads', async () => {
    const text = await read('docker-compose.yml');
    const used = new Set([...text.matchAll(/\$\{(\w+)/g)].map(([, name]) => name));
    const explained = [...(await read('.env.example')).matchAll(/^#?([A-Z_]+)=/gm)].map(([, name]) => name!);
    expect(explained.toSorted()).toEqual([...used].toSorted());
  });

  it('sets up with functions that operators have', async () => {
    const database = await createDatabase();
    try {
      const setup = await read('deploy/compose/setup.sql');
      const called = [...setup.matchAll(/rowmill\.(\w+)\(/g)].map(([, name]) => name!);
      expect(called).toContain('set_endpoint');
      const rows = await database.sql`
        select distinct p.proname as name from pg_proc as p
        where p.pronamespace = 'rowmill'::regnamespace and p.proname = any (${called})`;
      expect(rows.map(({ name }) => name).toSorted()).toEqual([...new Set(called)].toSorted());
      const getenvs = [...setup.matchAll(/^\\getenv \w+ (\w+)$/gm)].map(([, name]) => name!);
      expect(getenvs.filter((name) => !(name in services.setup!.environment!))).toEqual([]);
    } finally {
      await database.drop();
    }
  });
});
