import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import type { BatchFates } from './batch-fates.ts';
import type { BatchObject } from './batch-object.ts';
import { dripping, repeated, streamOf, zipped } from './endless.ts';
import type { Faults, Instead } from './faults.ts';
import { hostileFiles } from './hostile-files.ts';
import { asGzip, asJson, numberOf, redirect } from './instead.ts';
import type { Strike } from './occasions.ts';

type Answer = (batch: BatchObject, answer: BatchObject, strike: Strike) => Instead | undefined;

const retrievals = {
  retrieve_drips: (_batch, answer, { rule }) => ({
    headers: asJson,
    body: streamOf(dripping([Buffer.from(JSON.stringify(answer))], numberOf(rule, 'ms'))),
  }),
  retrieve_bomb: (_batch, answer, { rule }) => ({
    headers: { ...asJson, ...asGzip },
    body: streamOf(zipped(' ', numberOf(rule, 'mb')), [gzipSync(JSON.stringify(answer))]),
  }),
  retrieve_huge: (_batch, answer, { rule }) => {
    const start = `${JSON.stringify(answer).slice(0, -1)},"padding":"`;
    return {
      headers: asJson,
      body: streamOf([Buffer.from(start)], repeated('x', numberOf(rule, 'mb')), [Buffer.from('"}')]),
    };
  },
  retrieve_not_utf8: (_batch, answer) => {
    const metadata = { ...answer.metadata, note: '\u00ff\u00c3(\u00ed\u00a0\u0080' };
    // Latin-1 writes each of these as the byte of its number.
    return {
      headers: asJson,
      body: Readable.from([Buffer.from(JSON.stringify({ ...answer, metadata }), 'latin1')]),
    };
  },
  retrieve_redirect: (_batch, _answer, { rule }) => redirect(302, rule),
} satisfies Record<string, Answer>;

/** Answers about batches that are made to harm who reads them. */
export function hostileFaults(fates: BatchFates): Faults {
  const faults: Faults = hostileFiles(fates);
  const struck = (Object.keys(retrievals) as (keyof typeof retrievals)[]).filter((name) => fates.has(name));
  if (struck.length === 0 && !fates.has('create_lost') && !fates.has('create_same_id')) return faults;
  const first = new Map<Strike['rule'], string>();
  faults.answered = (route, batch, answer) => {
    if (route === 'create') return created(fates, first, batch, answer);
    for (const name of struck) {
      const strike = fates.find(batch, name);
      if (strike) return (retrievals[name] as Answer)(batch, answer, strike);
    }
    return undefined;
  };
  return faults;
}

function created(
  fates: BatchFates,
  first: Map<Strike['rule'], string>,
  batch: BatchObject,
  answer: BatchObject,
): Instead | undefined {
  if (fates.find(batch, 'create_lost')) return 'reset';
  const rule = fates.find(batch, 'create_same_id')?.rule;
  if (!rule) return undefined;
  const id = first.get(rule) ?? batch.id;
  first.set(rule, id);
  return { headers: asJson, body: JSON.stringify({ ...answer, id }) };
}
