import type { Logger } from 'pino';
import type { Deps } from '../deps.ts';

/** Deletes a file that no batch will read. A failure leaves it at the provider, and is nobody's problem but the log's. */
export async function dropFile(deps: Pick<Deps, 'provider'>, logger: Logger, fileId: string): Promise<void> {
  try {
    await deps.provider.deleteFile(fileId);
  } catch (error) {
    logger.warn({ err: error, file: fileId }, 'a file is left at the provider');
  }
}
