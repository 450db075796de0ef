import { mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import pino from 'pino';
import { type Config, readConfig } from '../../src/config.ts';
import { RowmillError } from '../../src/errors.ts';
import { type Service, startService } from '../../src/service.ts';

const state = path.join(import.meta.dirname, '..', '..', '.rowmill');
export const logFile = path.join(state, 'demo.log');

export type DemoConfig = { config: Config; isSimulated: boolean; takenPort: number | null };

/** The environment's configuration, with a beat fit for somebody who watches, and a port that is free. */
export async function readDemoConfig(env: NodeJS.ProcessEnv): Promise<DemoConfig> {
  const everySecond = '* * * * * *';
  const config = readConfig({
    ...{ ROWMILL_TICK_CRON: everySecond, ROWMILL_POLL_CRON: everySecond, ...env },
    // The demo makes a table and watches it, which takes a connection.
    ...{ SUPABASE_URL: undefined, SUPABASE_SERVICE_ROLE_KEY: undefined },
  });
  const isSimulated = config.OPENAI_API_KEY === undefined;
  if (await isFree(config.HOST, config.PORT)) return { config, isSimulated, takenPort: null };
  if (env.PORT) {
    throw new RowmillError(
      'demo_port',
      `PORT: ${config.PORT} is taken on ${config.HOST}. Set another, or none: the demo then takes a free one.`,
    );
  }
  return { config: { ...config, PORT: 0 }, isSimulated, takenPort: config.PORT };
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(false);
      else
        reject(new RowmillError('demo_port', `HOST, PORT: cannot listen on ${host}:${port}: ${error.code}`));
    });
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}

/** Starts the worker and all it needs; what it has to say goes to the log file. */
export async function startWorker(config: Config): Promise<Service> {
  mkdirSync(state, { recursive: true });
  const logger = pino(
    { level: config.LOG_LEVEL, base: null },
    pino.destination({ dest: logFile, sync: true }),
  );
  // A database of the demo's own: pipelines of yours in the service's embedded one are none of its business.
  const service = await startService(config, logger, { directory: path.join(state, 'demo') });
  await service.ready;
  return service;
}
