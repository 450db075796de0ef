import pino from 'pino';
import { describe, expect, it } from 'vitest';
import type { Deps } from '../../src/deps.ts';
import { RowmillError } from '../../src/errors.ts';
import { createMetrics } from '../../src/metrics.ts';
import { createPostgresTransport } from '../../src/store/postgres-transport.ts';
import { createStore, type Lease, type Store } from '../../src/store/store.ts';
import { createSubmission } from '../../src/submission/submission.ts';
import { FakeProvider } from '../support/fake-provider.ts';

/** A submission over a store in which every chunk waits at its first step until the test lets it go on. */
function startSubmission(limits = { concurrency: 2, maxBytes: 1000 }, overrides: Partial<Store> = {}) {
  const waiting: { chunk: number; goOn: () => void; fail: (error: Error) => void }[] = [];
  const released: number[] = [];
  const problems: (string | null)[] = [];
  const connection = createStore(
    createPostgresTransport({ url: 'postgres://nobody@127.0.0.1:1/nowhere' }),
    'w',
    'test',
  );
  const store: Store = {
    ...connection,
    // A pipeline that is gone: the shortest way that a chunk can take.
    getPipeline: (pipelineId) =>
      new Promise((resolve, fail) => waiting.push({ chunk: pipelineId, goOn: () => resolve(null), fail })),
    notePipelineProblem: async (_pipelineId, problem) => {
      problems.push(problem);
    },
    ...overrides,
  };
  const lease = {
    releaseChunk: async (chunkId: number) => {
      released.push(chunkId);
      return true;
    },
  } as Lease;
  const metrics = createMetrics();
  const deps: Deps = { store, provider: new FakeProvider(), logger: pino({ level: 'silent' }), metrics };
  const submission = createSubmission(deps, new AbortController().signal, () => {}, limits);
  const submit = (chunk: number, bytes = 0) =>
    submission.submit(
      lease,
      { pipelineId: chunk, chunks: [{ chunkId: chunk, rowCount: 1, rows: null }] },
      bytes,
    );
  return { submission, submit, waiting, released, problems, metrics };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('the submission', () => {
  it('takes a few chunks at a time, in the order in which they came', async () => {
    const { submit, waiting, submission } = startSubmission();
    for (const chunk of [1, 2, 3, 4, 5]) void submit(chunk);
    await turn();
    expect(waiting.map((each) => each.chunk)).toEqual([1, 2]);
    waiting[1]!.goOn();
    await turn();
    expect(waiting.map((each) => each.chunk)).toEqual([1, 2, 3]);
    waiting[0]!.fail(new Error('broken'));
    await turn();
    expect(waiting.map((each) => each.chunk)).toEqual([1, 2, 3, 4]);
    waiting[2]!.goOn();
    waiting[3]!.goOn();
    await turn();
    waiting[4]!.goOn();
    await submission.drain();
  });

  it('never takes more at a time, whatever came and went before', async () => {
    const { submit, waiting, submission } = startSubmission();
    for (let round = 0; round < 3; round += 1) {
      for (const chunk of [1, 2, 3]) void submit(chunk);
      await turn();
      expect(waiting).toHaveLength(2);
      for (let left = 3; left > 0; left -= 1) {
        waiting.shift()!.goOn();
        await turn();
      }
      await submission.drain();
    }
  });

  it('has room until its bytes are used up, and again when they are free', async () => {
    const { submission, submit, waiting, metrics } = startSubmission();
    expect(submission.hasRoom(1000)).toBe(true);
    const first = submit(1, 600);
    expect(submission.hasRoom(400)).toBe(true);
    expect(submission.hasRoom(401)).toBe(false);
    expect(submission.hasRoom(300, 100)).toBe(true);
    expect(submission.hasRoom(301, 100)).toBe(false);
    const second = submit(2, 400);
    expect(submission.hasRoom(1)).toBe(false);
    expect((await metrics.bytesInHand.get()).values[0]!.value).toBe(1000);
    await turn();
    waiting[0]!.goOn();
    await first;
    expect(submission.hasRoom(600)).toBe(true);
    waiting[1]!.fail(new Error('broken'));
    await second;
    expect(submission.hasRoom(1000)).toBe(true);
    expect((await metrics.bytesInHand.get()).values[0]!.value).toBe(0);
  });

  it('counts the bytes of chunks whose turn has not come', async () => {
    const { submission, submit, waiting } = startSubmission({ concurrency: 1, maxBytes: 1000 });
    void submit(1, 500);
    void submit(2, 500);
    expect(submission.hasRoom(1)).toBe(false);
    await turn();
    waiting[0]!.goOn();
    await turn();
    waiting[1]!.goOn();
    await submission.drain();
  });

  it('has room for one body that alone is larger than all of it', async () => {
    const { submission, submit, waiting } = startSubmission();
    expect(submission.hasRoom(5000)).toBe(true);
    void submit(1, 5000);
    expect(submission.hasRoom(1)).toBe(false);
    await turn();
    waiting[0]!.goOn();
    await submission.drain();
    expect(submission.hasRoom(5000)).toBe(true);
  });

  it('drains only when nothing is on its way, what came meanwhile included', async () => {
    const { submission, submit, waiting } = startSubmission();
    void submit(1);
    let isDrained = false;
    const drained = submission.drain().then(() => {
      isDrained = true;
    });
    await turn();
    void submit(2);
    waiting[0]!.goOn();
    await turn();
    expect(isDrained).toBe(false);
    await turn();
    waiting[1]!.goOn();
    await drained;
    await submission.drain();
  });

  it('never rejects: what fails is noted, and its chunk is given back', async () => {
    const { submit, waiting, released, problems } = startSubmission();
    const work = submit(7);
    await turn();
    waiting[0]!.fail(new Error('out of reach'));
    expect(await work).toBe('failed');
    expect(released).toEqual([7]);
    expect(problems).toEqual(['out of reach']);
  });

  it.each([
    new RowmillError('database_unreachable', 'The database is out of reach: ECONNRESET'),
    new RowmillError('lease_lost', 'The lease w/1 ran out.'),
  ])('$code is no problem of the pipeline\u2019s, and its chunk is given back', async (error) => {
    const { submit, waiting, released, problems } = startSubmission();
    const work = submit(7);
    await turn();
    waiting[0]!.fail(error);
    expect(await work).toBe('failed');
    expect(released).toEqual([7]);
    expect(problems).toEqual([]);
  });

  it('never rejects, even where nothing can be noted', async () => {
    const broken = () => Promise.reject(new Error('broken as well'));
    const { submit, waiting } = startSubmission(undefined, {
      notePipelineProblem: broken,
    });
    const work = submit(7);
    await turn();
    waiting[0]!.fail(new Error('out of reach'));
    expect(await work).toBe('failed');
  });
});
