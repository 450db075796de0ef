import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startWorld, type World, waitFor } from '../support/service.ts';

describe('a worker over HTTP', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.stop());
  const get = (path: string) => fetch(`${world.service.url}${path}`);

  it('is alive', async () => {
    const response = await get('/healthz');
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ status: 'ok', provider: 'openai' });
  });

  it('is ready only while its migrations are current', async () => {
    expect((await get('/readyz')).status).toBe(200);
    const removed = await world.sql`
      delete from supabase_migrations.schema_migrations
      where version = (select max(version) from supabase_migrations.schema_migrations) returning *`;
    const response = await get('/readyz');
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({
      error: { code: 'migrations_missing', message: expect.stringContaining('npm run migrate') },
    });
    const { version, name, statements } = removed[0]!;
    await world.sql`insert into supabase_migrations.schema_migrations (version, name, statements) values (${version}, ${name}, ${statements})`;
    expect((await get('/readyz')).status).toBe(200);
  });

  it('has metrics in the form of Prometheus', async () => {
    const response = await get('/metrics');
    expect(response.headers.get('content-type')).toContain('text/plain');
    expect(await response.text()).toContain('process_resident_memory_bytes');
    await waitFor('a tick is counted', async () => {
      const text = await (await get('/metrics')).text();
      return /rowmill_job_seconds_count\{job="tick",result="ok"\} [1-9]/.test(text);
    });
  });

  it('documents its routes from the schemas that check them', async () => {
    expect((await get('/docs')).status).toBe(200);
    const document = (await (await get('/docs/json')).json()) as { paths: Record<string, never> };
    expect(Object.keys(document.paths).sort()).toEqual([
      '/healthz',
      '/readyz',
      '/v1/chunks',
      '/v1/webhooks/openai',
    ]);
    expect(JSON.stringify(document)).toContain('chunk_id');
  });

  it('says in JSON what there is not', async () => {
    const response = await get('/nothing');
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ error: { code: 'not_found' } });
  });
});
