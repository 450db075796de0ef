import { validate } from 'node-cron';
import { z } from 'zod';
import { RowmillError } from './errors.ts';

const cron = z
  .string()
  .trim()
  .refine((text) => validate(text), 'expected a cron expression of 5 or 6 fields, e.g. */5 * * * * *');
const secret = (whose: string) =>
  z.string().regex(/^whsec_[A-Za-z0-9+/]+=*$/, `expected whsec_ followed by base64, as ${whose}`);

const fields = z.object({
  DATABASE_URL: z
    .url({ protocol: /^postgres(ql)?$/, error: 'expected postgres://user:password@host:port/database' })
    .optional(),
  SUPABASE_URL: z
    .url({
      protocol: /^https?$/,
      error: 'expected the address of the project, https://<project>.supabase.co',
    })
    .optional(),
  SUPABASE_SERVICE_ROLE_KEY: z
    .string()
    .trim()
    // Whatever else stands in a header is refused with the header's value in the message.
    .regex(/^[!-~]+$/, 'expected one word of plain characters, as the API settings show it')
    .refine((key) => !isPublicKey(key), 'expected the service_role or secret key; this one is for the public')
    .optional(),
  OPENAI_API_KEY: z.string().min(1).optional(),
  OPENAI_BASE_URL: z.url({ protocol: /^https?$/ }).optional(),
  OPENAI_WEBHOOK_SECRET: secret('the settings of the webhook at OpenAI show it').optional(),
  ROWMILL_SIMULATOR_URL: z.url({ protocol: /^https?$/ }).optional(),
  ROWMILL_INGEST_SECRET: secret('set_endpoint() takes it').optional(),
  HOST: z.string().min(1).default('127.0.0.1'),
  PORT: z.coerce.number().int().min(0).max(65_535).default(8787),
  ROWMILL_TICK_CRON: cron.default('*/5 * * * * *'),
  ROWMILL_POLL_CRON: cron.default('*/10 * * * * *'),
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
});

const pair = ['SUPABASE_URL', 'SUPABASE_SERVICE_ROLE_KEY'] as const;

const environment = fields.superRefine((given, context) => {
  if (given.DATABASE_URL !== undefined) return;
  for (const [name, other] of [pair, pair.toReversed()] as [keyof Config, keyof Config][]) {
    if (given[name] !== undefined || given[other] === undefined) continue;
    const message = `expected it beside ${other}, or DATABASE_URL instead of both`;
    context.addIssue({ code: 'custom', path: [name], message });
  }
});

/** DATABASE_URL wins over SUPABASE_URL with its key, which are both there or both not where it is missing. */
export type Config = z.infer<typeof fields>;

/** A publishable key, or a token of one of the roles that whoever visits a site has. */
function isPublicKey(key: string): boolean {
  if (key.startsWith('sb_publishable_')) return true;
  try {
    const claims = JSON.parse(Buffer.from(key.split('.')[1] ?? '', 'base64url').toString());
    return claims.role === 'anon' || claims.role === 'authenticated';
  } catch {
    return false;
  }
}

/**
 * Takes an environment; returns the configuration, defaults filled in. An empty variable counts as unset.
 * Raises RowmillError `config_invalid` with one line for each variable that does not fit; values, which may
 * be secrets, are in none of them.
 */
export function readConfig(env: Record<string, string | undefined>): Config {
  const given = Object.fromEntries(
    Object.entries(env).filter(([, value]) => value !== undefined && value !== ''),
  );
  const result = environment.safeParse(given);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw new RowmillError('config_invalid', `The environment does not fit:\n  ${problems.join('\n  ')}`, {
    fields: { problems },
  });
}
