import type postgres from 'postgres';
import { supabase } from './supabase-cli.ts';

export type Finding = { where: string; what: string };

/** `supabase db lint` at its lowest level: each function of the schema, checked statement by statement. */
export async function lintFunctions(url: string): Promise<Finding[]> {
  const results = await resultsOf(
    'db',
    'lint',
    `--remote=${url}`,
    '--schema',
    'rowmill',
    '--level',
    'warning',
  );
  return results.flatMap((result) => {
    const { function: where, issues } = result as { function: string; issues: Record<string, unknown>[] };
    return issues.map((issue) => ({
      where,
      what: [issue.level, issue.message, issue.detail].filter(Boolean).join(': '),
    }));
  });
}

/** `supabase db advisors` at its lowest level: security and performance of everything in the database. */
export async function advise(url: string): Promise<Finding[]> {
  const results = await resultsOf('db', 'advisors', `--remote=${url}`, '--type', 'all', '--level', 'info');
  return results.map((result) => {
    const { name, level, detail } = result as { name: string; level: string; detail: string };
    return { where: name, what: `${level}: ${detail}` };
  });
}

/** The trigger functions, which `db lint` leaves out, each with the tables that it serves. */
export async function lintTriggers(sql: postgres.Sql): Promise<Finding[]> {
  const findings = await sql<Finding[]>`
    select format('%s on %s', p.oid::regprocedure, t.tgrelid::regclass) as where,
      concat_ws(': ', c.level, c.message, c.detail) as what
    from pg_trigger as t
    join pg_proc as p on p.oid = t.tgfoid
    cross join lateral extensions.plpgsql_check_function_tb(
      t.tgfoid, t.tgrelid, oldtable => t.tgoldtable, newtable => t.tgnewtable
    ) as c
    where p.pronamespace = 'rowmill'::regnamespace`;
  const idle = await sql<Finding[]>`
    select p.oid::regprocedure::text as where, 'no trigger has it, so that it cannot be checked' as what
    from pg_proc as p
    where p.pronamespace = 'rowmill'::regnamespace and p.prorettype = 'trigger'::regtype
    and not exists (select from pg_trigger as t where t.tgfoid = p.oid)`;
  return [...findings, ...idle];
}

async function resultsOf(...args: string[]): Promise<unknown[]> {
  const text = await supabase(...args, '--output-format', 'json');
  let answer: { results?: unknown };
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Error(
      `expected JSON from supabase ${args[0]} ${args[1]}, came ${JSON.stringify(text.slice(0, 500))}`,
    );
  }
  if (!Array.isArray(answer.results)) {
    throw new Error(`expected results from supabase ${args[0]} ${args[1]}, came ${text.slice(0, 500)}`);
  }
  return answer.results;
}
