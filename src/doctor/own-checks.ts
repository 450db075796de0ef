import { createHmac, randomBytes } from 'node:crypto';
import { isDatabaseUnreachable, messageOf, ProviderError } from '../errors.ts';
import { inTime } from '../in-time.ts';
import type { Provider } from '../provider/provider.ts';
import { encodingRemedy } from '../store/refuse-database.ts';
import type { Transport } from '../store/transport.ts';
import type { Diagnosis } from './diagnosis.ts';

export type Surroundings = {
  /** null without OPENAI_API_KEY: a simulator would answer. */
  provider: Provider | null;
  ingestSecret: string | undefined;
  /** How long the provider may take; 15 s without it. */
  providerPatienceMs?: number;
};

/** What `rowmill.doctor()` cannot ask, in this order. */
export const ownChecks = ['encoding', 'writes', 'provider call', 'own clock', 'own secret'] as const;

const clockToleranceMs = 30_000;

/** Looks at what `rowmill.doctor()` cannot see, or cannot be there to see. Rejects where the database went away meanwhile. */
export async function lookFromHere(transport: Transport, surroundings: Surroundings): Promise<Diagnosis[]> {
  const looks: Record<(typeof ownChecks)[number], () => Promise<Omit<Diagnosis, 'check'> | null>> = {
    encoding: () => lookAtEncoding(transport),
    writes: () => lookAtWrites(transport),
    'provider call': () => lookAtProvider(surroundings),
    'own clock': () => lookAtClock(transport),
    'own secret': () => lookAtSecret(transport, surroundings.ingestSecret),
  };
  const found: Diagnosis[] = [];
  for (const check of ownChecks) {
    const finding = await looks[check]().catch((error: unknown) => {
      if (isDatabaseUnreachable(error)) throw error;
      return fault(`the check itself failed: ${messageOf(error)}`, 'See migrations.');
    });
    if (finding !== null) found.push({ check, ...finding });
  }
  return found;
}

/** null over the Data API, which does not tell. */
async function lookAtEncoding(transport: Transport): Promise<Omit<Diagnosis, 'check'> | null> {
  const encoding = await transport.databaseEncoding();
  if (encoding === null) return null;
  if (encoding === 'UTF8') return ok('UTF8');
  return fault(`the database has encoding ${encoding}; Rowmill needs UTF8`, encodingRemedy);
}

/** null over the Data API, which does not tell. */
async function lookAtWrites(transport: Transport): Promise<Omit<Diagnosis, 'check'> | null> {
  switch (await transport.writability()) {
    case null:
      return null;
    case 'writable':
      return ok('the database takes them');
    case 'standby':
      return fault(
        'the database is a standby and takes none: nothing is queued, sent or written',
        'Point DATABASE_URL to the primary, here and for the workers.',
      );
    case 'read_only':
      return fault(
        'default_transaction_read_only is on: nothing is queued, sent or written. Rows wait',
        'In Supabase: free disk space, or enlarge the disk. Then, or where somebody else set it: set session characteristics as transaction read write; alter database … reset default_transaction_read_only; Workers go on by themselves.',
      );
  }
}

async function lookAtProvider({
  provider,
  providerPatienceMs = 15_000,
}: Surroundings): Promise<Omit<Diagnosis, 'check'>> {
  if (provider === null) {
    return note(
      'OPENAI_API_KEY is not set here: a worker started so has a simulator answer',
      'Set OPENAI_API_KEY, the same as the workers have.',
    );
  }
  const late = () =>
    new ProviderError(`no answer within ${providerPatienceMs / 1000} s`, { kind: 'ambiguous' });
  try {
    const signal = AbortSignal.timeout(providerPatienceMs);
    await inTime(provider.check(signal), providerPatienceMs, late);
    return ok(`${provider.name} answers, and takes the key`);
  } catch (error) {
    const status = error instanceof ProviderError ? error.status : null;
    if (status === 401 || status === 403) {
      return fault(
        `${provider.name} refuses the key (${status})`,
        'Set OPENAI_API_KEY to a key that may use files and batches, here and for the workers.',
      );
    }
    if (status === null) {
      return fault(
        `${provider.name} is out of reach: ${messageOf(error)}`,
        'Correct OPENAI_BASE_URL, or let this machine reach it.',
      );
    }
    return warning(
      `${provider.name} answers with ${status}: ${messageOf(error)}`,
      'Ask again later; workers wait and try again by themselves.',
    );
  }
}

async function lookAtClock(transport: Transport): Promise<Omit<Diagnosis, 'check'>> {
  const from = Date.now();
  const [there] = await transport.rows<{ now_ms: number }>('probes_under_way', {});
  const aheadMs = (from + Date.now()) / 2 - there!.now_ms;
  const seconds = Math.round(Math.abs(aheadMs) / 1000);
  if (Math.abs(aheadMs) <= clockToleranceMs) return ok(`differs from the database's by ${seconds} s`);
  return warning(
    `this machine's clock is ${seconds} s ${aheadMs < 0 ? 'behind' : 'ahead of'} the database's`,
    'Set both clocks by NTP. A worker refuses posts beyond 5 minutes.',
  );
}

async function lookAtSecret(
  transport: Transport,
  secret: string | undefined,
): Promise<Omit<Diagnosis, 'check'>> {
  if (secret === undefined) {
    return note(
      'ROWMILL_INGEST_SECRET is not set here: a worker started so takes no posts',
      'Set it to the secret that set_endpoint() was given, where posts are wanted.',
    );
  }
  const challenge = randomBytes(16).toString('hex');
  const proof = createHmac('sha256', Buffer.from(secret.slice('whsec_'.length), 'base64'))
    .update(`rowmill doctor ${challenge}`)
    .digest('base64');
  const isKnown = await transport.value<boolean | null>('knows_secret', { challenge, proof });
  if (isKnown === true) return ok('ROWMILL_INGEST_SECRET is the one that signs posts');
  if (isKnown === null) return note('the database has none that can be used', 'See secret.');
  return fault(
    'ROWMILL_INGEST_SECRET is not the one that signs posts',
    "select rowmill.set_endpoint((select endpoint_url from rowmill.settings), 'whsec_…'); with this one, or set this one right.",
  );
}

const ok = (found: string) => ({ verdict: 'ok' as const, found, remedy: null });
const note = (found: string, remedy: string) => ({ verdict: 'note' as const, found, remedy });
const warning = (found: string, remedy: string) => ({ verdict: 'warning' as const, found, remedy });
const fault = (found: string, remedy: string) => ({ verdict: 'fault' as const, found, remedy });
