import type { Readable } from 'node:stream';
import type { BatchErrorItem, BatchObject } from './batch-object.ts';
import type { ApiError } from './errors.ts';
import type { Outcome } from './execute.ts';
import type { FileObject } from './file-store.ts';

/**
 * The places where the simulator asks whether to misbehave. All are optional, and a place without a fault
 * costs one look. Each may be asynchronous only where it is said: the others run for every line.
 */
export type Faults = {
  /** Before a request is handled: return an error to answer it with; wait in it to be slow. */
  beforeReply?: (request: { method: string; path: string }) => Promise<ApiError | undefined>;
  /** After a request has been handled in full, before the answer is sent: the work is done, the reply is lost. */
  afterHandling?: (request: { method: string; path: string }) => Promise<ApiError | undefined>;
  /** Once the input file has been checked: errors that fail the batch, besides those found. */
  validation?: (batch: BatchObject) => BatchErrorItem[];
  /** Before each request of a batch: return true to end the batch as expired, what is left unexecuted. */
  expires?: (batch: BatchObject, executed: number) => boolean;
  /** In place of executing a request of a batch. */
  outcome?: (batch: BatchObject, customId: string) => Outcome | undefined;
  /** The lines written for one line of output or error file: none, two, or a broken one. */
  written?: (batch: BatchObject, line: string) => string[];
  /** In place of a file's bytes as a download sends them; the length that was announced stays. */
  content?: (file: FileObject, bytes: Readable) => Readable;
};
