import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { createFaults } from './create-faults.ts';
import { faultHelp } from './fault-help.ts';
import { parseFault, readFaultScript } from './fault-rules.ts';
import { type SimulatorOptions, startSimulator } from './simulator.ts';

const help = `Rowmill's simulator of OpenAI's Files and Batches.

Usage: npm run simulator -- [options]

  --host <address>         where to listen (127.0.0.1)
  --port <number>          which port; 0 takes a free one (8788)
  --directory <path>       where the files live (a temporary directory, removed at the end)
  --delay-ms <number>      how long a batch is validating, and again finalizing (0)
  --request-ms <number>    how long each request of a batch takes (0)
  --enqueued-tokens <n>    how many input tokens the batches of a model may hold until they end (no limit);
                           a batch beyond it fails with token_limit_exceeded
  --batches-per-hour <n>   how many batches may be created within any hour (no limit); a create beyond it answers
                           429 rate_limit_exceeded
  --cached-share <0..1>    the part of the input tokens that usage tells as cached (0)
  --webhook-url <url>      who is told by POST that a batch has ended (nobody), such as
                           http://127.0.0.1:8787/v1/webhooks/openai
  --webhook-secret <text>  whsec_ and base64: what these are signed with; needed with --webhook-url
  --webhook-retry-ms <n>   how long until one that was not taken is repeated, twice as long each time (1000)
  --fault <rule>           a fault, as below; may be given again
  --faults <file>          a JSON array of them: [{"fault":"http_500","route":"create","at":[1,3]}]
  --fault-seed <number>    what probabilities are drawn from (0); the same seed, the same faults
  --help                   this text

${faultHelp()}`;

const flags = {
  host: { type: 'string' },
  port: { type: 'string', default: '8788' },
  directory: { type: 'string' },
  'delay-ms': { type: 'string', default: '0' },
  'request-ms': { type: 'string', default: '0' },
  'enqueued-tokens': { type: 'string' },
  'batches-per-hour': { type: 'string' },
  'cached-share': { type: 'string', default: '0' },
  'webhook-url': { type: 'string' },
  'webhook-secret': { type: 'string' },
  'webhook-retry-ms': { type: 'string', default: '1000' },
  fault: { type: 'string', multiple: true },
  faults: { type: 'string' },
  'fault-seed': { type: 'string', default: '0' },
  help: { type: 'boolean', default: false },
} as const;

async function readOptions(): Promise<SimulatorOptions | 'help'> {
  const { values } = parseArgs({ options: flags });
  if (values.help) return 'help';
  const delayMs = wholeNumber('delay-ms', values['delay-ms'], 2 ** 31 - 1);
  const perRequestMs = wholeNumber('request-ms', values['request-ms'], 2 ** 31 - 1);
  const seed = wholeNumber('fault-seed', values['fault-seed'], 2 ** 31 - 1);
  const script = values.faults === undefined ? [] : readFaultScript(await readFile(values.faults, 'utf8'));
  const rules = [...script, ...(values.fault ?? []).map(parseFault)];
  return {
    ...(values.host === undefined ? {} : { host: values.host }),
    ...(values.directory === undefined ? {} : { directory: values.directory }),
    ...limit('enqueuedTokens', 'enqueued-tokens', values['enqueued-tokens']),
    ...limit('batchesPerHour', 'batches-per-hour', values['batches-per-hour']),
    ...webhooks(values['webhook-url'], values['webhook-secret'], values['webhook-retry-ms']),
    cachedShare: share('cached-share', values['cached-share']),
    port: wholeNumber('port', values.port, 65_535),
    faults: createFaults(rules, { seed }),
    delays: { validatingMs: delayMs, perRequestMs, finalizingMs: delayMs },
  };
}

function wholeNumber(flag: string, value: string, maximum: number): number {
  const number = Number(value);
  if (/^\d+$/.test(value) && number <= maximum) return number;
  throw new Error(`--${flag} takes a whole number from 0 to ${maximum}, and got '${value}'`);
}

function limit<K extends string>(
  key: K,
  flag: string,
  value: string | undefined,
): Partial<Record<K, number>> {
  if (value === undefined) return {};
  return { [key]: wholeNumber(flag, value, Number.MAX_SAFE_INTEGER) } as Record<K, number>;
}

function share(flag: string, value: string): number {
  const number = Number(value);
  if (value.trim() !== '' && number >= 0 && number <= 1) return number;
  throw new Error(`--${flag} takes a number from 0 to 1, and got '${value}'`);
}

function webhooks(
  url: string | undefined,
  secret: string | undefined,
  retry: string,
): Pick<SimulatorOptions, 'webhooks'> {
  const retryMs = wholeNumber('webhook-retry-ms', retry, 2 ** 31 - 1);
  if (url === undefined && secret === undefined) return {};
  if (url === undefined || !/^https?:$/.test(URL.parse(url)?.protocol ?? '')) {
    throw new Error(`--webhook-url takes an http or https address, and got '${url ?? ''}'`);
  }
  if (!/^whsec_[A-Za-z0-9+/]+=*$/.test(secret ?? '')) {
    throw new Error('--webhook-secret takes whsec_ followed by base64, and is needed with --webhook-url');
  }
  return { webhooks: { url, secret: secret!, retryMs } };
}

async function main(): Promise<void> {
  const options = await readOptions();
  if (options === 'help') {
    process.stdout.write(help);
    return;
  }
  const simulator = await startSimulator(options);
  const close = () => {
    simulator.close().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  };
  process.once('SIGTERM', close);
  process.once('SIGINT', close);
  if (process.send) {
    process.send({ url: simulator.url });
    // A parent that died cannot send a signal any more.
    process.once('disconnect', close);
  }
  process.stdout.write(`The simulator listens on ${simulator.url}\n`);
}

main().catch((error: Error) => {
  process.stderr.write(`${error.message}\nTry --help.\n`);
  process.exitCode = 2;
});
