import type { Held } from './sql-worker.ts';

/** With the title that its row had then. */
export type HeldTitle = Held & { title: string };
export type Outcome = { kind: 'answer'; row: Held } | ({ kind: 'failure'; row: Held } & Verdict);
export type Verdict = { retried: boolean; counted: boolean; noted: boolean };

type Failure = { attempts: number; isFinal: boolean; title: string };
type Batch = {
  state: 'preparing' | 'running' | 'ended' | 'over';
  chunks: number[];
  /** By chunk and place. */
  rows: Map<string, HeldTitle>;
  reserved: number | null;
  requests: number;
  answered: number;
};

export const rates = { input: 100, cached: 10, output: 20, most: 30 };
// Dollars for a token in a batch, at 1, 0.1 and 4 dollars a million, all times a thousand.
const dollars = { input: 0.5e-3, cached: 0.05e-3, output: 2e-3 };

/** What pipeline_status is to say, kept by rules as simple as the view's comment. */
export class StatusModel {
  readonly titles = new Map<number, string>();
  readonly failures = new Map<number, Failure>();
  readonly batches = new Map<number, Batch>();
  /** Rows of chunks that are in no batch, by chunk. */
  readonly chunks = new Map<number, number>();
  /** Of chunks that are in one. */
  readonly sizes = new Map<number, number>();
  pending = 0;
  enriched = 0;
  stale = 0;
  gone = 0;
  spent = 0;
  readonly #maxAttempts: number;

  constructor(maxAttempts: number) {
    this.#maxAttempts = maxAttempts;
  }

  insert(ids: number[]): void {
    for (const id of ids) this.titles.set(id, `title ${id}`);
    this.pending += ids.length;
  }
  edit(id: number, title: string): void {
    if (this.titles.get(id) !== title) this.pending += 1;
    this.titles.set(id, title);
  }
  /** Everything that was pending is in these chunks now. */
  formed(chunks: { id: number; rows: number }[]): void {
    this.pending = 0;
    for (const { id, rows } of chunks) this.chunks.set(id, rows);
  }
  /** The tick forgets failures of rows that are others now. */
  forget(): void {
    for (const [id, { title }] of this.failures) if (this.titles.get(id) !== title) this.failures.delete(id);
  }
  held(rows: Held[], read: number[], closed: number[]): HeldTitle[] {
    for (const id of read) {
      const failure = this.failures.get(id);
      if (failure && failure.title !== this.titles.get(id)) this.failures.delete(id);
    }
    for (const id of closed) this.chunks.delete(id);
    return rows.map((row) => ({ ...row, title: this.titles.get(row.id)! }));
  }
  begun(batchId: number, chunks: number[], rows: HeldTitle[], leftOver: number, hasLimit: boolean): void {
    for (const id of chunks) {
      this.sizes.set(id, this.chunks.get(id)!);
      this.chunks.delete(id);
    }
    this.pending += leftOver;
    const requests = rows.length;
    // Until a batch told otherwise, the tokenizer may be a quarter off; then a tenth.
    const tokens = Math.ceil((requests * rates.input * (this.#hasHistory() ? 110 : 125)) / 100);
    const reserved = hasLimit ? tokens * dollars.input + requests * rates.most * dollars.output : null;
    const held = rows.map((row) => [placeOf(row), row] as const);
    this.batches.set(batchId, {
      ...{ state: 'preparing', chunks, rows: new Map(held), reserved, requests, answered: 0 },
    });
  }
  abandoned(batchId: number): void {
    const batch = this.#end(batchId, 0);
    for (const id of batch.chunks) this.chunks.set(id, this.sizes.get(id)!);
  }
  rejected(batchId: number, verdict: Verdict): void {
    const rows = [...this.batches.get(batchId)!.rows.values()];
    this.apply(
      batchId,
      rows.map((row) => ({ kind: 'failure', row, ...verdict })),
    );
    this.#end(batchId, 0);
  }
  apply(batchId: number, outcomes: Outcome[]): void {
    const batch = this.batches.get(batchId)!;
    const latest = new Map<number, { title: string; verdict: Verdict; chunk: number }>();
    const edited = new Set<number>();
    for (const outcome of outcomes) {
      const place = placeOf(outcome.row);
      const row = batch.rows.get(place);
      // A repetition.
      if (!row) continue;
      batch.rows.delete(place);
      const now = this.titles.get(row.id);
      if (outcome.kind === 'answer') {
        if (now === row.title) {
          this.enriched += 1;
          this.failures.delete(row.id);
        } else if (now === undefined) this.gone += 1;
        else {
          this.stale += 1;
          this.pending += 1;
        }
      } else if (now !== undefined && now !== row.title) edited.add(row.id);
      // One that is in the batch twice, with two inputs: the later one counts.
      else if ((latest.get(row.id)?.chunk ?? 0) <= row.c) {
        latest.set(row.id, { title: row.title, verdict: outcome, chunk: row.c });
      }
    }
    for (const [id, { title, verdict }] of latest) {
      let isFinal = false;
      if (verdict.noted) {
        const known = this.failures.get(id);
        const attempts = Number(verdict.counted) + (known?.title === title ? known.attempts : 0);
        isFinal = !verdict.retried || attempts >= this.#maxAttempts;
        this.failures.set(id, { attempts, isFinal, title });
      }
      if (!isFinal) this.pending += 1;
    }
    this.pending += [...edited].filter((id) => !latest.has(id)).length;
  }
  finished(batchId: number, verdict: Verdict): void {
    const batch = this.batches.get(batchId)!;
    const { answered } = batch;
    this.apply(
      batchId,
      [...batch.rows.values()].map((row) => ({ kind: 'failure', row, ...verdict })),
    );
    this.#end(
      batchId,
      answered *
        ((rates.input - rates.cached) * dollars.input +
          rates.cached * dollars.cached +
          rates.output * dollars.output),
    );
  }
  retried(): void {
    for (const [id, { isFinal }] of this.failures) {
      if (!isFinal) continue;
      this.failures.delete(id);
      this.pending += 1;
    }
  }

  status() {
    const open = [...this.batches.values()].filter(({ state }) => state !== 'over');
    const failures = [...this.failures.values()];
    return {
      pending: this.pending,
      waiting: sum([...this.chunks.values()]),
      in_flight: sum(open.map(({ rows }) => rows.size)),
      enriched: this.enriched,
      failed: failures.filter(({ isFinal }) => isFinal).length,
      retrying: failures.filter(({ isFinal }) => !isFinal).length,
      stale: this.stale,
      gone: this.gone,
      reserved_usd: open.some(({ reserved }) => reserved === null)
        ? null
        : rounded(sum(open.map(({ reserved }) => reserved ?? 0))),
      spent_usd: rounded(this.spent),
    };
  }

  #hasHistory(): boolean {
    return [...this.batches.values()].some(({ state, answered }) => state === 'over' && answered > 0);
  }
  #end(batchId: number, spent: number): Batch {
    const batch = this.batches.get(batchId)!;
    batch.state = 'over';
    this.spent += spent;
    return batch;
  }
}

function placeOf({ c, n }: Held): string {
  return `${c}-${n}`;
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

export function rounded(usd: number): number {
  return Math.round(usd * 1e6) / 1e6;
}
