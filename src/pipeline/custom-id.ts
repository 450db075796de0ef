import { RowmillError } from '../errors.ts';

export type CustomId = { chunkId: number; n: number; hash: string };

const hashPattern = /^[0-9a-f]{16}$/;
const idPattern = /^c(0|[1-9]\d{0,15})-(0|[1-9]\d{0,15})-([0-9a-f]{16})$/;

/**
 * Takes a chunk's id, a row's place in it and the hash of its input; returns the request's `custom_id`, at
 * most 50 of `[A-Za-z0-9_-]`. Raises RowmillError `custom_id_invalid` for anything that would not parse again.
 */
export function customId(chunkId: number, n: number, hash: string): string {
  if (!isPlace(chunkId) || !isPlace(n) || !hashPattern.test(hash)) {
    throw new RowmillError('custom_id_invalid', 'A chunk, a place and a hash do not make a custom_id.', {
      fields: { chunkId, n, hash },
    });
  }
  return `c${chunkId}-${n}-${hash}`;
}

/** Takes a `custom_id` from a result; returns its parts, or null where it is none that `customId` writes. */
export function parseCustomId(text: string): CustomId | null {
  const match = idPattern.exec(text);
  if (match === null) return null;
  const chunkId = Number(match[1]);
  const n = Number(match[2]);
  return isPlace(chunkId) && isPlace(n) ? { chunkId, n, hash: match[3]! } : null;
}

function isPlace(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
