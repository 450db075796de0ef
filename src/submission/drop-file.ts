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

const mostFailures = 3;

/**
 * For a run that deletes many: what deletes one file, as `dropFile` does, until three in a row failed. From then on it resolves with
 * false at once, since each call may take a minute, and who searches for what is left comes by again.
 */
export function createFileDrop(
  deps: Pick<Deps, 'provider' | 'logger'>,
): (fileId: string) => Promise<boolean> {
  let failures = 0;
  return async (fileId) => {
    if (failures >= mostFailures) return false;
    const isGone = await dropFile(deps, fileId);
    failures = isGone ? 0 : failures + 1;
    return isGone;
  };
}
