import { absurdNumbers } from './absurd.ts';
import type { BatchObject } from './batch-object.ts';
import type { Json } from './request.ts';

const idForm = /^c(\d+)-(\d+)-([0-9a-f]+)$/;

/** The ids of requests of late, by the batch that they are in: for lines that claim to be of another batch. */
export class RecentIds {
  #ids: { batch: string; pipeline: string | undefined; customId: string }[] = [];
  #next = 0;

  add(batch: BatchObject, customId: string): void {
    this.#ids[this.#next++ % 1_000] = {
      batch: batch.id,
      pipeline: batch.metadata?.rowmill_pipeline,
      customId,
    };
  }

  /** One of another batch, by turns of another pipeline and of the same where there are both. */
  ofAnother(batch: BatchObject, turn: number): string {
    const others = this.#ids.filter((each) => each.batch !== batch.id);
    const pipeline = batch.metadata?.rowmill_pipeline;
    const wanted = others.filter((each) => (each.pipeline === pipeline) === (turn % 2 === 1));
    const from = wanted.length > 0 ? wanted : others;
    return from[turn % from.length]?.customId ?? 'stranger';
  }
}

/** A `custom_id` like this one, with another place or chunk, in the form whose turn it is. */
export function misplaced(customId: string, turn: number): string {
  const [, chunk = '1', place = '1', hash = '0'.repeat(16)] = idForm.exec(customId) ?? [];
  const forms = [
    // A place that is there, with the hash of another.
    `c${chunk}-${Number(place) + 1}-${hash}`,
    `c${chunk}-0-${hash}`,
    `c${chunk}-1000000-${hash}`,
    `c${chunk}-2147483648-${hash}`,
    `c${chunk}-4294967296-${hash}`,
    `c${chunk}-9007199254740993-${hash}`,
    `c9007199254740993-${place}-${hash}`,
    `c9223372036854775808-${place}-${hash}`,
    `c${Number(chunk) + 1}-${place}-${hash}`,
    `c${chunk}--1-${hash}`,
    `c${chunk}-1e1-${hash}`,
    `c${chunk}-${place}-${'f'.repeat(16)}`,
    `c${chunk}-${place}-${hash}\u0000`,
    `c${chunk}-${place}-${hash}${'x'.repeat(1_000_000)}`,
  ];
  return forms[turn % forms.length]!;
}

/** The line with numbers in its usage that are none, in the form whose turn it is. */
export function withAbsurdUsage(line: string, turn: number): string {
  const parsed = JSON.parse(line) as { response: { body: Json } | null };
  const body = parsed.response?.body;
  if (body?.usage === undefined) return line;
  return JSON.stringify({
    ...parsed,
    response: { ...parsed.response, body: { ...body, usage: absurdNumbers(body.usage, turn) } },
  });
}
