import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import OpenAI from 'openai';
import { describe, expect, it, onTestFinished } from 'vitest';
import { faultNames } from '../../src/simulator/fault-rules.ts';
import { requestCodes } from '../../src/simulator/request-errors.ts';
import { routeNames } from '../../src/simulator/route-names.ts';
import { validationCodes } from '../../src/simulator/validation-forms.ts';
import { webhookSecret } from '../support/signed-webhook.ts';
import { chatLine, runBatch, submit } from './harness.ts';

const main = fileURLToPath(new URL('../../src/simulator/main.ts', import.meta.url));
const run = (...args: string[]) => promisify(execFile)(process.execPath, [main, ...args]);

describe('the command', () => {
  it('sends its URL to the process that forked it, and ends on SIGTERM', async () => {
    const child = fork(main, ['--port', '0', '--delay-ms', '1'], { execArgv: [], stdio: 'ignore' });
    onTestFinished(() => void child.kill('SIGKILL'));
    const [{ url }] = (await once(child, 'message')) as [{ url: string }];
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/v1$/);
    const ledger = await (await fetch(new URL('/ledger', url))).json();
    expect(ledger).toMatchObject({ executed: 0, batchesCreated: 0, filesHeld: 0 });
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
  });

  it('ends when the process that forked it goes away', async () => {
    const child = fork(main, ['--port', '0'], { execArgv: [], stdio: 'ignore' });
    onTestFinished(() => void child.kill('SIGKILL'));
    await once(child, 'message');
    child.disconnect();
    expect(await once(child, 'exit')).toEqual([0, null]);
  });

  it('explains itself', async () => {
    const { stdout } = await run('--help');
    const limits = [
      '--enqueued-tokens <n>',
      '--batches-per-hour <n>',
      '--cached-share <0..1>',
      '--webhook-url <url>',
    ];
    for (const flag of ['--delay-ms', '--fault <rule>', '--faults <file>', '--fault-seed', ...limits]) {
      expect(stdout).toContain(flag);
    }
  });

  it('lists every fault in its help once, and every route and code', async () => {
    const { stdout } = await run('--help');
    const listed = [...stdout.matchAll(/^ {2}([a-z]\w+) {2,}\S/gm)].map(([, name]) => name);
    expect(listed.toSorted()).toEqual(faultNames.toSorted());
    for (const word of [...routeNames, ...validationCodes, ...requestCodes]) expect(stdout).toContain(word);
    expect(stdout).toContain('they never stand in that order');
    expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(120);
  });

  it('has the faults of its script and of its flags', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'rowmill-faults-'));
    onTestFinished(() => rm(directory, { recursive: true }));
    const script = join(directory, 'faults.json');
    await writeFile(script, '[{"fault":"http_503","route":"list_files"}]');
    const flags = ['--fault', 'http_500:list@1', '--fault', 'http_429:list@2', '--fault-seed', '7'];
    const child = fork(main, ['--port', '0', '--faults', script, ...flags], {
      execArgv: [],
      stdio: 'ignore',
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    const [{ url }] = (await once(child, 'message')) as [{ url: string }];
    const statusOf = async (path: string) =>
      (await fetch(`${url}/${path}`, { headers: { authorization: 'Bearer k' } })).status;
    expect([await statusOf('batches'), await statusOf('batches'), await statusOf('batches')]).toEqual([
      500, 429, 200,
    ]);
    expect(await statusOf('files')).toBe(503);
  });

  it('has the limits of its flags', async () => {
    const flags = ['--enqueued-tokens', '30', '--batches-per-hour', '2', '--cached-share', '0.5'];
    const child = fork(main, ['--port', '0', ...flags], { execArgv: [], stdio: 'ignore' });
    onTestFinished(() => void child.kill('SIGKILL'));
    const [{ url }] = (await once(child, 'message')) as [{ url: string }];
    const openai = new OpenAI({ apiKey: 'any', baseURL: url, maxRetries: 0 });
    const small = await runBatch(openai, [chatLine('a', 'x'), chatLine('b', 'x')]);
    expect(small).toMatchObject({
      status: 'completed',
      usage: { input_tokens_details: { cached_tokens: 8 } },
    });
    const large = await runBatch(
      openai,
      Array.from({ length: 4 }, (_, i) => chatLine(`c-${i}`, 'x')),
    );
    expect(large.errors!.data).toMatchObject([{ code: 'token_limit_exceeded' }]);
    await expect(submit(openai, [chatLine('a', 'x')])).rejects.toMatchObject({ status: 429 });
  });

  it('tells whom its flags name', async () => {
    const server = createServer((request, response) => {
      response.end();
      server.emit('told', request.headers['webhook-signature']);
    });
    server.listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await once(server, 'listening');
    const hook = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
    const flags = ['--webhook-url', hook, '--webhook-secret', webhookSecret, '--webhook-retry-ms', '5'];
    const child = fork(main, ['--port', '0', ...flags], { execArgv: [], stdio: 'ignore' });
    onTestFinished(() => void child.kill('SIGKILL'));
    const [{ url }] = (await once(child, 'message')) as [{ url: string }];
    const told = once(server, 'told');
    await submit(new OpenAI({ apiKey: 'any', baseURL: url, maxRetries: 0 }), [chatLine('a', 'x')]);
    expect((await told)[0]).toMatch(/^v1,/);
  });

  it.each([
    ['an address without a secret', ['--webhook-url', 'http://127.0.0.1:1/'], '--webhook-secret'],
    ['a secret without an address', ['--webhook-secret', webhookSecret], '--webhook-url'],
    [
      'an address of another kind',
      ['--webhook-url', 'ftp://x', '--webhook-secret', webhookSecret],
      "got 'ftp://x'",
    ],
    ['another kind of secret', ['--webhook-url', 'http://x', '--webhook-secret', 'secret'], 'whsec_'],
    ['no number of milliseconds', ['--webhook-retry-ms', 'x'], "got 'x'"],
  ])('refuses %s', async (_what, flags, why) => {
    await expect(run('--port', '0', ...flags)).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining(why),
    });
  });

  it('refuses a fault or a script that it cannot read', async () => {
    await expect(run('--fault', 'http_500:create=2')).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining("the fault 'http_500:create=2' cannot be read: probability"),
    });
    await expect(run('--faults', main)).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining('a fault script is a JSON array of rules'),
    });
    await expect(run('--faults', '/nowhere/faults.json')).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining('/nowhere/faults.json'),
    });
  });

  it('refuses flags that it does not know or cannot read', async () => {
    await expect(run('--prot', '1')).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--prot'),
    });
    await expect(run('--port', 'x')).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining("got 'x'"),
    });
    await expect(run('--cached-share', '1.5')).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--cached-share takes a number from 0 to 1, and got '1.5'"),
    });
    await expect(run('--enqueued-tokens', '-1')).rejects.toMatchObject({ code: 2 });
    await expect(run('--batches-per-hour', '1.5')).rejects.toMatchObject({ code: 2 });
  });
});
