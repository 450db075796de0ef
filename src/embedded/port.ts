import { createServer } from 'node:net';
import { systemCode } from './errors.ts';

/** Returns a port of 127.0.0.1 that is free now; the caller retries when somebody takes it first. */
export async function freePort(): Promise<number> {
  return listenBriefly(0);
}

/** Whether somebody listens on that port of 127.0.0.1, or it cannot be had for another reason of the system's. */
export async function isTaken(port: number): Promise<boolean> {
  try {
    await listenBriefly(port);
    return false;
  } catch (error) {
    if (systemCode(error) !== null) return true;
    throw error;
  }
}

async function listenBriefly(port: number): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host: '127.0.0.1', exclusive: true }, resolve);
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : port;
}
