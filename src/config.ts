import { validate } from 'node-cron';
import { z } from 'zod';
import { RowmillError } from './errors.ts';

const cron = z
  .string()
  .trim()
  .refine((text) => validate(text), 'expected a cron expression of 5 or 6 fields, e.g. */5 * * * * *');
const secret = z
  .string()
  .regex(/^whsec_[A-Za-z0-9+/]+=*$/, 'expected whsec_ followed by base64, as set_endpoint() takes it');

const environment = z.object({
  DATABASE_URL: z
    .url({ protocol: /^postgres(ql)?$/, error: 'expected postgres://user:password@host:port/database' })
    .optional(),
  OPENAI_API_KEY: z.string().min(1).optional(),
  OPENAI_BASE_URL: z.url({ protocol: /^https?$/ }).optional(),
  ROWMILL_INGEST_SECRET: secret.optional(),
  HOST: z.string().min(1).default('127.0.0.1'),
  PORT: z.coerce.number().int().min(0).max(65_535).default(8787),
  ROWMILL_TICK_CRON: cron.default('*/5 * * * * *'),
  ROWMILL_POLL_CRON: cron.default('*/10 * * * * *'),
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
});

export type Config = z.infer<typeof environment>;

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
