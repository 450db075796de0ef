import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { EmbeddedPostgresError, systemCode } from './errors.ts';
import { ENVIRONMENT, type Launch } from './launch.ts';

/**
 * Starts one of the binaries as the launch says. Resolves once the process exists; raises `embedded_platform` where it
 * cannot.
 */
export async function run(
  launch: Launch,
  command: { file: string; args: string[]; stdio: SpawnOptions['stdio']; detached?: boolean },
): Promise<ChildProcess> {
  const [file = '', ...args] = [...launch.prefix, command.file, ...command.args];
  const child = spawn(file, args, {
    ...launch.ids,
    env: ENVIRONMENT,
    // The directory that we were started in may be closed to the user that Postgres runs as.
    cwd: '/',
    stdio: command.stdio,
    detached: command.detached ?? false,
  });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (cause) => {
      const why =
        systemCode(cause) === 'ENOENT'
          ? 'its loader is missing; it needs glibc, which Alpine and other musl systems lack'
          : cause.message;
      const message = `${command.file} cannot be run as ${launch.as}: ${why}. Set DATABASE_URL to a Postgres 15 or newer.`;
      reject(new EmbeddedPostgresError('embedded_platform', message, { cause }));
    });
  });
  return child;
}
