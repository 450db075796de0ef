import { freeze, frozen } from './frozen-migrations.ts';

try {
  const added = await freeze(frozen);
  process.stdout.write(
    added.length === 0 ? 'every migration is frozen already\n' : `frozen: ${added.join(', ')}\n`,
  );
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
