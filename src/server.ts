import pino, { type Logger } from 'pino';
import { type Config, readConfig } from './config.ts';
import { diagnose } from './doctor/doctor.ts';
import { writeDiagnoses } from './doctor/write-diagnoses.ts';
import { RowmillError } from './errors.ts';
import { configuredDatabase } from './open-database.ts';
import { preview, previewUsage, readPreviewOptions } from './preview/preview.ts';
import { createOpenAiProvider } from './provider/openai.ts';
import { type Service, startService } from './service.ts';
import { migrate } from './store/migrate.ts';

const usage = `usage: node src/server.ts            start a worker
       node src/server.ts migrate    apply the migrations to DATABASE_URL and leave
       node src/server.ts preview    show what a pipeline would send, and what it would cost
       node src/server.ts doctor     look at everything that Rowmill needs; ends with 1 where there is a fault

${previewUsage}`;

/** Environment → configuration → service → signals. The one reader of process.env. */
async function main(): Promise<void> {
  const [command, ...rest] = process.argv.slice(2);
  const isKnown = command === undefined || ['migrate', 'preview', 'doctor'].includes(command);
  if (!isKnown || (rest.length > 0 && command !== 'preview')) throw new RowmillError('usage', usage);
  const previewOptions = command === 'preview' ? readPreviewOptions(rest) : null;
  const config = readConfig(process.env);
  // Else the last lines of a process that leaves may come in the wrong order.
  const logger = pino({ level: config.LOG_LEVEL, base: null }, pino.destination({ sync: true }));

  if (command === 'doctor') {
    await doctor(config, logger);
    return;
  }
  if (command !== undefined && config.DATABASE_URL === undefined) {
    throw new RowmillError(
      'config_invalid',
      `npm run ${command} needs DATABASE_URL, e.g. postgres://user:password@host:5432/postgres`,
    );
  }
  if (previewOptions) {
    process.stdout.write(await preview(config.DATABASE_URL!, previewOptions));
    return;
  }
  if (command === 'migrate') {
    const { applied } = await migrate({ url: config.DATABASE_URL! });
    process.stdout.write(
      applied.length === 0
        ? 'nothing to do: all migrations are applied\n'
        : `applied ${applied.join(', ')}\n`,
    );
    return;
  }

  let service: Service | undefined;
  let got: NodeJS.Signals | undefined;
  const stop = () => {
    if (!service || !got) return;
    logger.info({ signal: got }, 'stopping: finishing what is in hand');
    service.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        logger.error({ err: error }, 'stopping failed');
        process.exit(1);
      },
    );
  };
  // Before anything is started: a signal that comes in the meantime waits until there is something to stop.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (got) return;
      got = signal;
      // Whatever hangs beyond this is recovered from the tables by the next worker.
      setTimeout(() => process.exit(1), 9500).unref();
      stop();
    });
  }
  service = await startService(config, logger);
  stop();
  await service.ready.catch(async (error: unknown) => {
    await service?.stop();
    throw error;
  });
}

async function doctor(config: Config, logger: Logger): Promise<void> {
  const { OPENAI_API_KEY: apiKey, OPENAI_BASE_URL: baseURL, ROWMILL_INGEST_SECRET: ingestSecret } = config;
  const provider = apiKey === undefined ? null : createOpenAiProvider({ apiKey, baseURL });
  const database = await configuredDatabase(config, logger);
  if (database === null) {
    throw new RowmillError(
      'config_invalid',
      'npm run doctor needs DATABASE_URL, or SUPABASE_URL with SUPABASE_SERVICE_ROLE_KEY',
    );
  }
  const { transport } = database;
  try {
    const diagnoses = await diagnose(transport, { provider, ingestSecret });
    process.stdout.write(writeDiagnoses(diagnoses));
    if (diagnoses.some(({ verdict }) => verdict === 'fault')) process.exitCode = 1;
  } finally {
    await transport.close(1000);
  }
}

main().catch((error: unknown) => {
  // What a person did wrong needs no stack; a bug does.
  process.stderr.write(
    `${error instanceof RowmillError ? error.message : error instanceof Error ? error.stack : String(error)}\n`,
  );
  process.exitCode = 1;
});
