import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';

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
    expect((await run('--help')).stdout).toContain('--delay-ms');
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
  });
});
