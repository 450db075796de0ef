import type { Diagnosis } from '../../src/doctor/diagnosis.ts';
import { type BareApp, startBareApp } from '../routes/bare-app.ts';
import type { TestDatabase } from '../support/database.ts';
import { createPgNetDatabase, type PgNet } from '../support/pg-net.ts';
import { ingestSecret, waitFor } from '../support/service.ts';
import { createFilms, createPipeline } from '../support/sql-factories.ts';

export type DoctorWorld = {
  sql: TestDatabase['sql'];
  url: string;
  pgNet: PgNet;
  /** Where the worker's HTTP side listens. */
  workerUrl: string;
  /** Everything that doctor() says at this moment. */
  look(): Promise<Diagnosis[]>;
  /** What one check says at this moment. */
  lookAt(check: string): Promise<Diagnosis>;
  /** What a check says once it says it with this verdict. */
  until(check: string, verdict: Diagnosis['verdict'], found?: RegExp): Promise<Diagnosis>;
  /** Forgets the pings, so that the next look posts at once. */
  forgetPings(): Promise<void>;
  stop(): Promise<void>;
};

/**
 * A database with the pipeline `films`, in which posts are delivered, the HTTP side of a worker that they arrive at, and a
 * worker's sign of life. All is well with it.
 */
export async function startDoctorWorld(): Promise<DoctorWorld> {
  const database = await createPgNetDatabase();
  const { sql } = database;
  const app = await startBareApp();
  const workerUrl = await listen(app);
  await createFilms(sql);
  await createPipeline(sql);
  await sql`select rowmill.set_endpoint(${workerUrl}, ${ingestSecret})`;
  await sql`select rowmill.renew_leases('w1', '1.0.0', '{}')`;

  const look = async () => [...(await sql<Diagnosis[]>`select * from rowmill.doctor()`)];
  const lookAt = async (check: string) => (await look()).find((row) => row.check === check)!;
  return {
    ...{ sql, url: database.url, pgNet: database.pgNet, workerUrl, look, lookAt },
    async until(check, verdict, found = /./) {
      let last: Diagnosis | undefined;
      try {
        return await waitFor(
          `${check} is ${verdict}`,
          async () => {
            last = await lookAt(check);
            return last.verdict === verdict && found.test(last.found) ? last : null;
          },
          20_000,
        );
      } catch {
        throw new Error(`expected ${check} to be ${verdict} ${found}, and it is ${JSON.stringify(last)}`);
      }
    },
    async forgetPings() {
      await sql`delete from rowmill.pings`;
    },
    async stop() {
      await database.drop();
      await app.close();
    },
  };
}

export async function listen(app: BareApp): Promise<string> {
  return await app.app.listen({ host: '127.0.0.1', port: 0 });
}
