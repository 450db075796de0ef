import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const project = path.join(import.meta.dirname, '..');

/** The binary that SUPABASE_CLI names; undefined without. It is no dependency: it weighs 140 MB, and few need it. */
export const supabaseCli: string | undefined = process.env.SUPABASE_CLI || undefined;

/** Runs the Supabase CLI in the project, with answers yes to all it asks; returns what it prints. Rejects with all it said. */
export async function supabase(...args: string[]): Promise<string> {
  if (supabaseCli === undefined) {
    throw new Error(
      'expected SUPABASE_CLI to name the Supabase CLI, came nothing; npm install supabase@3.1.0 into a directory of its own and set SUPABASE_CLI=<it>/node_modules/.bin/supabase',
    );
  }
  try {
    const { stdout } = await run(supabaseCli, [...args, '--yes', '--agent', 'no', '--workdir', project], {
      env: { ...process.env, SUPABASE_NO_UPDATE_NOTIFIER: '1', SUPABASE_NO_KEYRING: '1', DO_NOT_TRACK: '1' },
      maxBuffer: 64 * 1024 * 1024,
      timeout: 120_000,
    });
    return stdout;
  } catch (error) {
    const { stdout = '', stderr = '', message } = error as Error & { stdout?: string; stderr?: string };
    // The URL of the database is among the arguments, with its password; what Node says repeats them.
    const said = `${stderr}${stdout}`.trim();
    const why = said === '' ? message.split('\n')[0]!.replace(/\/\/[^@\s]*@/g, '//…@') : said;
    throw new Error(`supabase ${args[0]} ${args[1]} failed: ${why}`);
  }
}
