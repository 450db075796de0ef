import type { Deps } from '../deps.ts';
import type { HeldRow, InputRow } from '../pipeline/pipeline.ts';
import type { Lease, Place } from '../store/store.ts';
import type { RequestFile } from './request-file.ts';
import type { AcceptedChunk } from './submit-work.ts';

const pageBytes = 4_000_000;

/** Fills the file with the rows of a chunk that may be sent; resolves with the places that found no room. */
export async function fillFile(
  deps: Pick<Deps, 'store'>,
  lease: Lease,
  chunk: AcceptedChunk,
  file: RequestFile,
): Promise<Place[]> {
  const { chunkId } = chunk;
  const toPlace = ({ n }: { n: number }): Place => ({ c: chunkId, n });
  const addHeld = async (rows: InputRow[]): Promise<HeldRow[]> => {
    if (rows.length === 0) return [];
    const held = await lease.holdRows(
      chunkId,
      rows.map((row) => ({ n: row.n, hash: row.hash })),
    );
    const sent: HeldRow[] = [];
    for (const row of rows) {
      const scale = held.get(row.n);
      if (scale !== undefined) sent.push({ ...row, scale });
    }
    return file.add(chunkId, sent);
  };

  if (chunk.rows) return (await addHeld(chunk.rows)).map(toPlace);
  // Pages grow or shrink with the size of the rows, so that neither 50,000 small nor 1,000 huge ones fill the memory.
  let places = Math.min(100, chunk.rowCount);
  for (let from = 0; from < chunk.rowCount; ) {
    const rows = await deps.store.readChunk(chunkId, from, places);
    const before = file.bytes;
    const rest = await addHeld(rows);
    from += places;
    if (rest.length > 0) {
      const unread = Array.from({ length: Math.max(0, chunk.rowCount - from) }, (_, at) => ({
        n: from + at,
      }));
      return [...rest, ...unread].map(toPlace);
    }
    const bytesPerPlace = Math.max(1, (file.bytes - before) / places);
    places = Math.max(1, Math.min(5000, Math.floor(pageBytes / bytesPerPlace)));
  }
  return [];
}
