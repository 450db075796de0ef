import { startEmbeddedPostgres } from '../../src/embedded/embedded-postgres.ts';

// Stands for a service: says in one line of JSON what became of its start, and stops on SIGTERM as a service does.
const [directory = ''] = process.argv.slice(2);
try {
  const server = await startEmbeddedPostgres({ directory });
  const keepAlive = setInterval(() => undefined, 60_000);
  process.once('SIGTERM', async () => {
    await server.stop();
    clearInterval(keepAlive);
  });
  const { url, pid, dataDirectory } = server;
  console.log(JSON.stringify({ url, pid, dataDirectory }));
} catch (error) {
  const { code, message } = error as { code?: string; message: string };
  console.log(JSON.stringify({ code, message }));
}
