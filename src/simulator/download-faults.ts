import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { seededRandom } from './digest.ts';
import type { Faults } from './faults.ts';
import { firstStrike, type Occasions } from './occasions.ts';
import { rulesOf } from './pipeline-rules.ts';

/**
 * Downloads that send a part of their bytes. The first that is struck announces all of them and then breaks
 * off; the second announces no length and ends as if that were all; and so on by turns.
 */
export function downloadFaults(counted: Occasions[], seed: number): Faults {
  const rules = counted.filter(({ rule }) => rule.fault === 'download_cut');
  if (rules.length === 0) return {};
  const random = seededRandom(seed);
  return {
    content(file, bytes, batch) {
      const strike = firstStrike(rulesOf(rules, batch));
      if (!strike) return bytes;
      const sent = Math.floor(random() * file.bytes);
      const isBroken = strike.turn % 2 === 0;
      return { bytes: Readable.from(firstOf(bytes, sent, isBroken)), isLengthAnnounced: isBroken };
    },
  };
}

async function* firstOf(bytes: Readable, count: number, isBroken: boolean): AsyncGenerator<Buffer> {
  let left = count;
  for await (const chunk of bytes as AsyncIterable<Buffer>) {
    if (left > 0) yield chunk.subarray(0, left);
    left -= chunk.length;
    if (left <= 0) break;
  }
  if (!isBroken) return;
  // What was sent is to arrive before the connection breaks.
  await nextTurn();
  throw new Error('download_cut: the connection breaks');
}
