import type { Deps } from '../deps.ts';
import { verdictOf } from '../pipeline/error-classes.ts';
import type { HeldRow, InputRow } from '../pipeline/pipeline.ts';
import type { Lease, Place } from '../store/store.ts';
import { readPages, type UnreadPlace } from './read-pages.ts';
import type { RequestFile } from './request-file.ts';
import type { AcceptedChunk } from './submit-work.ts';

const pageBytes = 4_000_000;
const firstPlaces = 100;
const mostPlaces = 5000;

/**
 * Fills the file with the rows of a chunk that may be sent; resolves with the places that found no room. A row that
 * Postgres cannot read fails alone. Rejects where it can read none of several: then the pipeline is at fault.
 */
export async function fillFile(
  deps: Pick<Deps, 'store'>,
  lease: Lease,
  chunk: AcceptedChunk,
  file: RequestFile,
): Promise<Place[]> {
  const { chunkId, rowCount } = chunk;
  if (chunk.rows)
    return (await addHeld(lease, chunkId, chunk.rows, file)).map(({ n }) => ({ c: chunkId, n }));

  const unread: UnreadPlace[] = [];
  let leftOver: { n: number }[] = [];
  let end = 0;
  for (let places = Math.min(firstPlaces, rowCount); end < rowCount && leftOver.length === 0; ) {
    for await (const page of readPages(deps, chunkId, end, Math.min(places, rowCount - end))) {
      const before = file.bytes;
      const looked = page.end - end;
      leftOver = await addHeld(lease, chunkId, page.rows, file);
      unread.push(...page.unread);
      end = page.end;
      // Pages grow or shrink with the size of the rows, so that neither 50,000 small nor 1,000 huge ones fill the memory.
      const bytesPerPlace = Math.max(1, (file.bytes - before) / looked);
      places = Math.max(1, Math.min(mostPlaces, Math.floor(pageBytes / bytesPerPlace)));
      if (leftOver.length > 0) break;
    }
  }
  await refuseUnread(lease, chunk, unread);
  const unseen = Array.from({ length: rowCount - end }, (_, at) => ({ n: end + at }));
  return leftOver.length === 0 ? [] : [...leftOver, ...unseen].map(({ n }) => ({ c: chunkId, n }));
}

/** Adds those rows that may be sent; returns what found no room. */
async function addHeld(
  lease: Lease,
  chunkId: number,
  rows: InputRow[],
  file: RequestFile,
): Promise<HeldRow[]> {
  if (rows.length === 0) return [];
  const held = await lease.holdRows(
    chunkId,
    rows.map(({ n, hash }) => ({ n, hash })),
  );
  const sent: HeldRow[] = [];
  for (const row of rows) {
    const scale = held.get(row.n);
    if (scale !== undefined) sent.push({ ...row, scale });
  }
  return file.add(chunkId, sent);
}

async function refuseUnread(lease: Lease, chunk: AcceptedChunk, unread: UnreadPlace[]): Promise<void> {
  const [first] = unread;
  if (first === undefined) return;
  if (chunk.rowCount > 1 && unread.length === chunk.rowCount) throw first.error;
  await lease.refuseUnreadRows(
    chunk.chunkId,
    unread.map(({ n, code, message }) => ({
      n,
      ...verdictOf('invalid_request', code, `Postgres cannot read the row: ${message}`),
    })),
  );
}
