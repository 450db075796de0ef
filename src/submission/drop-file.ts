import type { Deps } from '../deps.ts';

/** Deletes a file that no batch will read; resolves with whether it is gone. A failure is nobody's problem but the log's. */
export async function dropFile(deps: Pick<Deps, 'provider' | 'logger'>, fileId: string): Promise<boolean> {
  try {
    await deps.provider.deleteFile(fileId);
    return true;
  } catch (error) {
    deps.logger.warn({ err: error, file: fileId }, 'a file is left at the provider');
    return false;
  }
}
