import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { findBinaries } from '../../src/embedded/binaries.ts';
import { freePort } from '../../src/embedded/port.ts';
import { startOf } from '../../src/embedded/process-identity.ts';
import { copyProject, inCopy, query, start, temporaryDirectory } from './places.ts';
import { started, startService } from './service.ts';

/** A process of the user that owns the data; ended by its pid when the test has finished. */
async function spawnAsOwner(dataDirectory: string, file: string, args: string[]): Promise<number> {
  const { uid, gid } = await stat(dataDirectory);
  const ids = process.getuid?.() === 0 ? { uid, gid } : {};
  const child = spawn(file, args, { ...ids, cwd: '/', stdio: 'ignore' });
  const exited = once(child, 'exit');
  await once(child, 'spawn');
  onTestFinished(async () => {
    child.kill('SIGINT');
    await exited;
  });
  return child.pid!;
}

test('a SIGTERM to the service ends its server as well', async () => {
  const service = await startService(await temporaryDirectory());
  const { pid } = started(service);
  await service.end('SIGTERM');
  expect(startOf(pid)).toBeNull();
});

test('after a SIGKILL of the service a new start replaces the orphan, and committed data are there', async () => {
  const directory = await temporaryDirectory();
  const service = await startService(directory);
  const orphan = started(service);
  await query(orphan.url, 'create table kept as select 42 as n');
  await service.end('SIGKILL');
  expect(startOf(orphan.pid)).not.toBeNull();
  const server = await start({ directory });
  expect(startOf(orphan.pid)).toBeNull();
  expect(await query(server.url, 'select n from kept')).toEqual([{ n: 42 }]);
});

test('after a SIGKILL of service and postmaster a backend that still computes is ended, and data are there', async () => {
  const directory = await temporaryDirectory();
  const service = await startService(directory);
  const { url, pid } = started(service);
  await query(url, 'create table kept as select 42 as n');
  // Computes without ever waiting, so it does not notice that its postmaster is gone.
  const busy = query(url, 'select count(*) from generate_series(1, 10000000000) as n').catch(() => 'cut off');
  await vi.waitFor(async () => {
    const active = "select 1 from pg_stat_activity where query like 'select count%' and state = 'active'";
    expect(await query(url, active)).toHaveLength(1);
  });
  await service.end('SIGKILL');
  process.kill(pid, 'SIGKILL');
  const server = await start({ directory });
  expect(await query(server.url, 'select n from kept')).toEqual([{ n: 42 }]);
  expect(await busy).toBe('cut off');
});

test('a stale postmaster.pid whose pid another process has by now stops nothing', async () => {
  const directory = await temporaryDirectory();
  const first = await start({ directory });
  const file = path.join(first.dataDirectory, 'postmaster.pid');
  const lines = (await readFile(file, 'utf8')).split('\n');
  await first.stop();
  const bystander = await spawnAsOwner(first.dataDirectory, 'sleep', ['600']);
  await writeFile(file, [bystander, ...lines.slice(1)].join('\n'));
  const second = await start({ directory });
  expect(await query(second.url, 'select 1 as n')).toEqual([{ n: 1 }]);
  expect(startOf(bystander)).not.toBeNull();
});

test('an owner file whose pid another process has by now stops nothing', async () => {
  const directory = await temporaryDirectory();
  const first = await start({ directory });
  await first.stop();
  const bystander = await spawnAsOwner(first.dataDirectory, 'sleep', ['600']);
  const owner = { pid: bystander, started: 'some other time' };
  await writeFile(path.join(directory, 'postgres/owner.json'), JSON.stringify(owner));
  const second = await start({ directory });
  expect(await query(second.url, 'select 1 as n')).toEqual([{ n: 1 }]);
});

test('a live owner is respected even where somebody deleted the lock', async () => {
  const directory = await temporaryDirectory();
  const service = await startService(directory);
  const { url } = started(service);
  await rm(path.join(directory, 'postgres/lock'));
  await expect(start({ directory })).rejects.toMatchObject({
    code: 'embedded_in_use',
    fields: { pid: service.pid },
  });
  expect(await query(url, 'select 1 as n')).toEqual([{ n: 1 }]);
});

test('of services that start at the same instant one wins, and the others are refused', async () => {
  const directory = await temporaryDirectory();
  const services = await Promise.all([1, 2, 3, 4].map(() => startService(directory)));
  const codes = services.map(({ report }) => report.code).sort();
  expect(codes).toEqual(['embedded_in_use', 'embedded_in_use', 'embedded_in_use', undefined]);
  const winner = services.find(({ report }) => report.url !== undefined)!;
  expect(await query(started(winner).url, 'select 1 as n')).toEqual([{ n: 1 }]);
});

test('a server that Rowmill did not start is named and left alone', async () => {
  const directory = await temporaryDirectory();
  const first = await start({ directory });
  await first.stop();
  // Where its owner can reach it, wherever this checkout lies.
  const project = await copyProject(path.join(await temporaryDirectory(), 'checkout'));
  const postgres = inCopy(project, (await findBinaries()).postgres);
  const port = await freePort();
  const settings = [`port=${port}`, 'unix_socket_directories=', 'listen_addresses=127.0.0.1'];
  const args = ['-D', first.dataDirectory, ...settings.flatMap((setting) => ['-c', setting])];
  const pid = await spawnAsOwner(first.dataDirectory, postgres, args);
  const url = new URL(first.url);
  url.port = String(port);
  await vi.waitFor(() => query(url.href, 'select 1'), { timeout: 20_000 });
  await expect(start({ directory })).rejects.toMatchObject({
    code: 'embedded_foreign_server',
    fields: { pid },
  });
  expect(await query(url.href, 'select 1 as n')).toEqual([{ n: 1 }]);
});

test('a killed server recovers what it had committed', async () => {
  const directory = await temporaryDirectory();
  const first = await start({ directory });
  await query(first.url, 'create table kept as select 42 as n');
  await first.kill();
  const second = await start({ directory });
  expect(await query(second.url, 'select n from kept')).toEqual([{ n: 42 }]);
});
