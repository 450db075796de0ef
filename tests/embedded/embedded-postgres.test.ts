import { mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startOf } from '../../src/embedded/process-identity.ts';
import { query, start, temporaryDirectory } from './places.ts';

const LONG = 'a-path-longer-than-the-107-bytes-of-a-unix-socket/'.repeat(4);

async function takePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => new Promise<void>((resolve) => void server.close(() => resolve())));
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

test('a fresh directory gets a Postgres 18 in UTF8 and UTC, durable unless told otherwise', async () => {
  const { startEmbeddedPostgres } = await import('../../src/embedded/embedded-postgres.ts');
  const server = await startEmbeddedPostgres({ directory: await temporaryDirectory() });
  onTestFinished(() => server.stop());
  const [found] = await query(
    server.url,
    `select version(), current_setting('server_encoding') as encoding, current_setting('timezone') as timezone,
      current_setting('fsync') as fsync, lower('Ä') as lower`,
  );
  expect(found).toMatchObject({ encoding: 'UTF8', timezone: 'UTC', fsync: 'on', lower: 'ä' });
  expect(found?.version).toMatch(/^PostgreSQL 18\./);
});

test('the server listens on loopback alone and asks for the password, which only its owner can read', async () => {
  const server = await start({ directory: await temporaryDirectory() });
  const wrong = new URL(server.url);
  wrong.password = 'wrong';
  await expect(query(wrong.href, 'select 1')).rejects.toMatchObject({ code: '28P01' });
  const [found] = await query(
    server.url,
    `select current_setting('listen_addresses') as addresses, current_setting('unix_socket_directories') as sockets`,
  );
  expect(found).toEqual({ addresses: '127.0.0.1', sockets: '' });
  const password = await stat(path.join(server.dataDirectory, 'rowmill.password'));
  expect(password.mode & 0o777).toBe(0o600);
});

test('data survive a restart, and a stop leaves no process', async () => {
  const directory = await temporaryDirectory();
  const first = await start({ directory });
  await query(first.url, 'create table kept as select 42 as n');
  await Promise.all([first.stop(), first.stop()]);
  expect(startOf(first.pid)).toBeNull();
  const second = await start({ directory });
  expect(await query(second.url, 'select n from kept')).toEqual([{ n: 42 }]);
});

test.each([
  ['spaces and quotes', `it's a "place" with spaces`],
  ['a path too long for a socket', LONG],
])('a directory may have %s', async (_, name) => {
  const server = await start({ directory: path.join(await temporaryDirectory(), name, '.rowmill') });
  expect(await query(server.url, 'select 1 as n')).toEqual([{ n: 1 }]);
});

test('a directory is the same one through a symlink', async () => {
  const directory = await temporaryDirectory();
  await mkdir(path.join(directory, 'real'));
  await symlink('real', path.join(directory, 'link'));
  const server = await start({ directory: path.join(directory, 'link') });
  expect(server.dataDirectory).toBe(path.join(directory, 'real/postgres/data'));
  await expect(start({ directory: path.join(directory, 'real') })).rejects.toMatchObject({
    code: 'embedded_in_use',
  });
});

test('a second live instance is refused by pid and directory, and the first goes on unharmed', async () => {
  const directory = await temporaryDirectory();
  const first = await start({ directory });
  const before = (await readdir(path.join(directory, 'postgres'))).sort();
  await expect(start({ directory })).rejects.toMatchObject({
    code: 'embedded_in_use',
    message: expect.stringMatching(new RegExp(`${directory}.*pid ${process.pid}.*DATABASE_URL`)),
  });
  expect((await readdir(path.join(directory, 'postgres'))).sort()).toEqual(before);
  expect(await query(first.url, 'select 1 as n')).toEqual([{ n: 1 }]);
});

test('a taken port is refused by its number where it was asked for', async () => {
  const port = await takePort();
  const directory = await temporaryDirectory();
  await expect(start({ directory, port })).rejects.toMatchObject({
    code: 'embedded_port_taken',
    fields: { port },
  });
  const server = await start({ directory });
  expect(await query(server.url, 'select 1 as n')).toEqual([{ n: 1 }]);
});

test('a port that is taken between picking and binding is replaced by another', async () => {
  const { freePort } = await import('../../src/embedded/port.ts');
  const taken = await takePort();
  const picks = [taken, await freePort()];
  const pickPort = async () => picks.shift() ?? freePort();
  const server = await start({ directory: await temporaryDirectory() }, { pickPort });
  expect(server.port).not.toBe(taken);
  expect(picks).toEqual([]);
});

test('a refused setting shows the end of the log, and leaves the directory free', async () => {
  const directory = await temporaryDirectory();
  await expect(start({ directory, settings: { shared_buffers: 'much' } })).rejects.toMatchObject({
    code: 'embedded_start_failed',
    message: expect.stringContaining('shared_buffers'),
  });
  const server = await start({ directory });
  expect(await query(server.url, 'select 1 as n')).toEqual([{ n: 1 }]);
});

test('a half-finished initdb is thrown away and done again', async () => {
  const directory = await temporaryDirectory();
  const home = path.join(directory, 'postgres');
  await mkdir(path.join(home, 'data.init-0123', 'base'), { recursive: true });
  await writeFile(path.join(home, 'data.init-0123', 'PG_VERSION'), '18\n');
  await writeFile(path.join(home, 'data.init-0123.password'), 'never used');
  await mkdir(path.join(home, 'data'));
  const server = await start({ directory });
  expect(await query(server.url, 'select 1 as n')).toEqual([{ n: 1 }]);
  expect((await readdir(home)).filter((name) => name.startsWith('data.'))).toEqual([]);
});

test('data of another major version are refused and left as they are', async () => {
  const directory = await temporaryDirectory();
  await (await start({ directory })).stop();
  const file = path.join(directory, 'postgres/data/PG_VERSION');
  await writeFile(file, '17\n');
  await expect(start({ directory })).rejects.toMatchObject({
    code: 'embedded_version',
    fields: { found: '17', expected: '18' },
  });
  expect(await readFile(file, 'utf8')).toBe('17\n');
});

test('a directory that only looks like data is refused and left as it is', async () => {
  const directory = await temporaryDirectory();
  const data = path.join(directory, 'postgres/data');
  await mkdir(data, { recursive: true });
  await writeFile(path.join(data, 'precious'), 'yes');
  await expect(start({ directory })).rejects.toMatchObject({ code: 'embedded_damaged' });
  expect(await readdir(data)).toEqual(['precious']);
  await rm(data, { recursive: true });
});
