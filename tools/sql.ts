import { findProblems } from './sql/check.ts';
import { freezeRelease } from './sql/release.ts';
import { supabase } from './sql/rooms.ts';
import { writeMigration } from './sql/write-migration.ts';

const usage = `usage: npm run sql [-- check | -- release VERSION]
  Without arguments it writes the migration of the version in package.json from supabase/schemas/ and supabase/changes/.
  check    says what in supabase/migrations/ is not as they make it; changes nothing
  release  writes the digests of that migration and of each file of schemas/ to supabase/released/: the version is then
           frozen, and what changes goes into the next version's migration`;

const [command, version, ...rest] = process.argv.slice(2);
try {
  if (command === undefined) say(`written: ${await writeMigration(supabase)}`);
  else if (command === 'check' && version === undefined) await check();
  else if (command === 'release' && version !== undefined && rest.length === 0) {
    say(`frozen: ${await freezeRelease(supabase, version)}`);
  } else {
    say(usage);
    process.exitCode = 1;
  }
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}

async function check(): Promise<void> {
  const problems = await findProblems(supabase);
  for (const problem of problems) process.stderr.write(`${problem}\n`);
  if (problems.length > 0) process.exitCode = 1;
  else say('supabase/migrations/ is what supabase/schemas/ and supabase/changes/ make');
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
