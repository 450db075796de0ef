import { stat } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { hasRoute, read, root, variables } from './files.ts';

describe('the Dockerfile', () => {
  let stages: string[];
  let last: string;
  beforeAll(async () => {
    const text = (await read('Dockerfile')).replaceAll(/^#.*\n/gm, '').replaceAll(/\\\n\s*/g, '');
    stages = text.split(/^(?=FROM )/m).slice(1);
    last = stages.at(-1)!;
  });
  const instructions = (stage: string, name: string) =>
    stage
      .split('\n')
      .filter((line) => line.startsWith(`${name} `))
      .map((line) => line.slice(name.length + 1));

  it('has the Node that the tests run on', async () => {
    const lock = JSON.parse(await read('package-lock.json'));
    const [, version] = /^ARG NODE_VERSION=(\S+)$/m.exec(await read('Dockerfile'))!;
    expect(version).toBe(lock.packages['node_modules/node'].version);
    expect(stages.map((stage) => instructions(stage, 'FROM')[0])).toEqual([
      expect.stringMatching(/^node:\$\{NODE_VERSION\}-slim AS \w+$/),
      // biome-ignore lint/suspicious/noTemplateCurlyInString: as Docker writes it
      'node:${NODE_VERSION}-slim',
    ]);
  });

  it('brings no package that a worker does without', () => {
    expect(stages[0]).toContain('npm ci --omit=dev --omit=optional');
    expect(instructions(last, 'RUN')).toEqual([]);
  });

  it('starts as npm start does, without a shell that would keep signals', async () => {
    const { scripts } = JSON.parse(await read('package.json'));
    const [command] = instructions(last, 'CMD').filter((text) => text.startsWith('["node", "--'));
    expect(JSON.parse(command!).join(' ')).toBe(scripts.start);
  });

  it('runs as a user that Kubernetes can tell from root', () => {
    const [user] = instructions(last, 'USER');
    expect(user).toMatch(/^[1-9]\d*:[1-9]\d*$/);
    expect(last.indexOf('\nUSER ')).toBeGreaterThan(last.lastIndexOf('\nCOPY '));
  });

  it('listens on the port that it exposes, for others too', () => {
    expect(instructions(last, 'EXPOSE')).toEqual([String(readConfig({}).PORT)]);
    expect(instructions(last, 'ENV')).toEqual(['NODE_ENV=production HOST=0.0.0.0']);
  });

  it('copies what there is, and its context has that and no secret', async () => {
    const context = (await read('.dockerignore')).split('\n').filter((line) => line && !line.startsWith('#'));
    expect(context[0]).toBe('*');
    const kept = context.filter((line) => line.startsWith('!')).map((line) => line.slice(1));
    const copied = stages
      .flatMap((stage) => instructions(stage, 'COPY'))
      .filter((text) => !text.startsWith('--from'))
      .flatMap((text) => text.split(' ').slice(0, -1));
    for (const file of copied) {
      expect(
        (await stat(path.join(root, file))).isFile() || (await stat(path.join(root, file))).isDirectory(),
      ).toBe(true);
      expect(kept, `${file} is kept`).toContain(file);
    }
    // The folder of the migrations is opened for them alone.
    expect(kept.filter((file) => !copied.includes(file))).toEqual(['supabase']);
    expect(context).toContain('supabase/*');
  });

  it('asks a route that exists whether the worker is alive', async () => {
    const [check] = instructions(last, 'HEALTHCHECK');
    const [, port, url] = /127\.0\.0\.1:\$\{process\.env\.PORT \|\| (\d+)\}(\/\w+)/.exec(check!)!;
    expect(Number(port)).toBe(readConfig({}).PORT);
    expect(await hasRoute(url!)).toBe(true);
    expect(await variables()).toContain('PORT');
  });
});
