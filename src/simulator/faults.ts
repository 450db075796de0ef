import type { Readable } from 'node:stream';
import type { AnswerFlaw } from './answer-flaws.ts';
import type { BatchErrorItem, BatchObject } from './batch-object.ts';
import type { ApiError } from './errors.ts';
import type { BareError, Outcome } from './execute.ts';
import type { FileObject } from './file-store.ts';
import type { Page } from './paging.ts';
import type { Json } from './request.ts';
import type { RouteName } from './route-names.ts';
import type { LineError } from './validation-errors.ts';

export type HttpRequest = {
  method: string;
  path: string;
  /** Null for what is none of Files and Batches. */
  route: RouteName | null;
};

/** What goes wrong with a request: what becomes of it, and what the client sees. */
export type HttpFault = {
  /** It is never done; it is done before the answer is lost; or it is done `ms` after the client lost it. */
  effect: 'none' | 'done' | 'late';
  /** What the client gets in place of the answer. */
  answer: HttpReply | 'reset' | 'drop';
  /** How long the client is kept waiting for that; for a late effect, how long the effect is. */
  ms: number;
};

export type HttpReply = { status: number; headers: Record<string, string>; body: string };

/** What is sent in place of an answer; it may never end, and announces no length. Or the connection is reset. */
export type Instead = { status?: number; headers: Record<string, string>; body: Readable | string } | 'reset';

/** What a line of a result file holds as JSON text, whatever it is. */
export type RawResult = { response: string; error: string };

/** The bytes of a download; where their length is not announced, the client cannot miss any. */
export type Download = { bytes: Readable; isLengthAnnounced: boolean };

/** An answer that is paid for and cannot be used. */
export type FlawedAnswer = { flaw: AnswerFlaw };

/** The states that a batch can be kept in. */
export type StickyState = 'validating' | 'in_progress' | 'finalizing';

/**
 * The places where the simulator asks whether to misbehave. All are optional, and a place without a fault
 * costs one look. Each may be asynchronous only where it is said: the others run for every line.
 */
export type Faults = {
  /** Before a request is handled: return what shall become of it; wait in it to be slow. */
  beforeReply?: (request: HttpRequest) => Promise<HttpFault | ApiError | undefined>;
  /** After a request has been handled in full, before the answer is sent: the work is done, the reply is lost. */
  afterHandling?: (request: HttpRequest) => Promise<ApiError | undefined>;
  /** Once a batch has been created, before anything else is asked about it. */
  created?: (batch: BatchObject) => void;
  /** Whether the list shows a batch. */
  isListed?: (batch: BatchObject) => boolean;
  /** Before a batch is shown to who asked for it by its id: an error to answer with instead. */
  retrieved?: (batch: BatchObject) => ApiError | undefined;
  /** In place of the answer to its creation or its retrieval: what is sent. */
  answered?: (route: 'create' | 'retrieve', batch: BatchObject, answer: BatchObject) => Instead | undefined;
  /** In place of a result file's bytes: what is sent. */
  delivered?: (batch: BatchObject, bytes: () => Readable) => Instead | undefined;
  /** A result file as replies show it. */
  fileShown?: (batch: BatchObject, file: FileObject) => FileObject;
  /** A page of a list as it is sent; `page` makes the proper one, and throws where `after` is unknown. */
  listed?: (
    route: 'list' | 'list_files',
    after: string | undefined,
    page: () => Page<{ id: string }>,
  ) => unknown;
  /** Once an upload has been read, before it has its effect: what it is answered with instead. */
  uploaded?: (firstRequest: Json) => Instead | undefined;
  /** A batch as replies show it. */
  shown?: (batch: BatchObject) => BatchObject;
  /** How many milliseconds longer than usual a batch stays in a state; Infinity for ever. */
  stays?: (batch: BatchObject, state: StickyState) => number;
  /** For each request of an input file that is well by itself: an error that fails the batch, naming the line. */
  checked?: (batch: BatchObject, body: Json) => LineError | undefined;
  /** Once the input file has been checked: errors that fail the batch, besides those found. */
  validation?: (batch: BatchObject) => BatchErrorItem[];
  /** Before each request of a batch and after the last: return true to end it as expired, the rest unexecuted. */
  expires?: (batch: BatchObject, executed: number) => boolean;
  /** The same, to end it as cancelled. */
  cancels?: (batch: BatchObject, executed: number) => boolean;
  /** Whether a batch's answers are lost: paid for and counted, and in no output file. */
  losesOutput?: (batch: BatchObject) => boolean;
  /** Whether a batch's files end without a newline. */
  endsBare?: (batch: BatchObject) => boolean;
  /** In place of executing a request of a batch; or a flaw, for it to be executed and paid for with that. */
  outcome?: (
    batch: BatchObject,
    customId: string,
    body: Json,
  ) => Outcome | BareError | FlawedAnswer | RawResult | undefined;
  /** The lines written for one line of output or error file: none, two, or a broken one. */
  written?: (batch: BatchObject, line: string) => string[];
  /** In place of a file's bytes as a download sends them; the length that was announced stays unless it says so. */
  content?: (file: FileObject, bytes: Readable, batch: BatchObject | undefined) => Readable | Download;
};
