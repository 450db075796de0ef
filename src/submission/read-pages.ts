import type { Deps } from '../deps.ts';
import { messageOf } from '../errors.ts';
import type { InputRow } from '../pipeline/pipeline.ts';
import { isOfNoRow, sqlStateOf } from '../store/sql-error.ts';

/** A place whose row Postgres cannot read: its filter or a cast raises, or it is too large. */
export type UnreadPlace = { n: number; code: string; message: string; error: unknown };
/** `end`: the place behind the last one that was looked at. */
export type Page = { rows: InputRow[]; unread: UnreadPlace[]; end: number };

/** Locks and collisions: the page may be read later. */
const passing = /^(40|55)/;

/**
 * Reads places of a chunk, as a page. Where that raises, has too many bytes, or takes longer than it may, an eighth of
 * them is read first, then the others, each as a page of its own, down to the one whose row is the reason. Rejects with what is no row's fault.
 */
export async function* readPages(
  deps: Pick<Deps, 'store'>,
  chunkId: number,
  from: number,
  places: number,
): AsyncGenerator<Page> {
  const end = from + places;
  let rows: InputRow[];
  try {
    rows = await deps.store.readChunk(chunkId, from, places);
  } catch (error) {
    const code = sqlStateOf(error);
    if (code === null || isOfNoRow(code) || passing.test(code)) throw error;
    if (places === 1) {
      yield { rows: [], unread: [{ n: from, code, message: messageOf(error), error }], end };
      return;
    }
    const first = Math.ceil(places / 8);
    yield* readPages(deps, chunkId, from, first);
    yield* readPages(deps, chunkId, from + first, places - first);
    return;
  }
  yield { rows, unread: [], end };
}
