import { randomBytes } from 'node:crypto';

const alphanumeric = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/** The present time in the unit of every timestamp of the API. */
export function unixSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

/** `batch_` and 32 hex digits, of which the first eight are the time of creation. */
export function newBatchId(createdAt: number): string {
  return `batch_${createdAt.toString(16).padStart(8, '0')}${randomBytes(12).toString('hex')}`;
}

/** `file-` and 22 letters or digits. */
export function newFileId(): string {
  let id = 'file-';
  // A slight bias towards the first letters does no harm here.
  for (const byte of randomBytes(22)) id += alphanumeric[byte % alphanumeric.length];
  return id;
}

/**
 * Ids for what is made by the thousand: one random prefix for the batch, a counter for the line. Reading
 * random bytes for every line would cost more than answering it.
 */
export function idSeries(): (prefix: string) => string {
  const base = randomBytes(12).toString('hex');
  let next = 0;
  return (prefix) => prefix + base + (next++).toString(16).padStart(8, '0');
}
