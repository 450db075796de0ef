import { readFile } from 'node:fs/promises';
import path from 'node:path';
import pino from 'pino';
import { parseAllDocuments } from 'yaml';
import { buildApp } from '../../src/app.ts';
import type { Deps } from '../../src/deps.ts';
import { createMetrics } from '../../src/metrics.ts';
import type { Submission } from '../../src/submission/submission.ts';

export const root = path.join(import.meta.dirname, '../..');

export const read = (file: string) => readFile(path.join(root, file), 'utf8');

/** Every document of a YAML file, with anchors and merges resolved. Rejects where it is none, or names a key twice. */
export async function readYaml<Document>(file: string): Promise<Document[]> {
  const documents = parseAllDocuments(await read(file), { merge: true, uniqueKeys: true });
  if (!Array.isArray(documents)) throw new Error(`${file} is empty`);
  return documents.map((document) => {
    const [problem] = [...document.errors, ...document.warnings];
    if (problem) throw new Error(`${file}: ${problem.message}`);
    return document.toJS() as Document;
  });
}

/** The environment variables that a worker reads. */
export async function variables(): Promise<string[]> {
  return [...(await read('src/config.ts')).matchAll(/^ {2}([A-Z][A-Z_]+): /gm)].map(([, name]) => name!);
}

/** Whether a worker answers GET (or else `method`) at this path. */
export async function hasRoute(url: string, method: 'GET' | 'POST' = 'GET'): Promise<boolean> {
  const app = await buildApp({
    deps: { logger: pino({ level: 'silent' }), metrics: createMetrics() } as Deps,
    submission: {} as Submission,
    ingestSecret: undefined,
    wakePoll: () => {},
    version: 'test',
  });
  await app.ready();
  try {
    return app.hasRoute({ method, url });
  } finally {
    await app.close();
  }
}
