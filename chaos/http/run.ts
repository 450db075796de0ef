import { Endings } from '../endings.ts';
import { createRandom } from '../random.ts';
import { demanded, type Fact, type Report, reportOf, shown, some } from '../report.ts';
import { type Answer, FuzzConnection } from './connection.ts';
import { postHealthily } from './healthy.ts';
import { mutatedRequest } from './mutate-request.ts';
import type { FuzzOptions } from './options.ts';
import { beStranger } from './strangers.ts';
import { startSubject } from './subject.ts';

const memoryLimitMb = 400;
// Tells what hangs from what is slow on a busy machine.
const patienceMs = 60_000;
// For a request that the worker may wait for more of.
const hangingMs = 100;
// The sending takes seconds; a healthy post is made every 100 ms, four of five a chunk.
const chunksASecond = 8;

/** Starts a worker, sends it everything that is wrong beside what is right, and tells what came of it. Leaves nothing running. */
export async function runHttpFuzz(
  options: FuzzOptions,
  log: (line: string) => void = () => {},
): Promise<Report> {
  const endings = new Endings();
  try {
    const subject = await startSubject(
      Math.min(10_000, options.seconds * chunksASecond),
      options.databaseUrl,
      endings,
    );
    log(`a worker listens at ${subject.port}, with ${subject.peakMemory()} MB`);
    const before = subject.peakMemory();
    const ends = new AbortController();
    const answers = new Map<Answer, number>();
    const wrong: string[] = [];
    const unanswered: string[] = [];
    let sent = 0;
    let answered = 0;
    const startedAt = Date.now();
    const deadline = startedAt + options.seconds * 1000;

    const mutate = async (name: string) => {
      const random = createRandom(options.seed, name);
      const connection = new FuzzConnection(subject.port);
      while (sent < options.requests && Date.now() < deadline && subject.exit() === null) {
        sent += 1;
        const { bytes, mayHang, isHead } = mutatedRequest(random);
        const answer = await connection.send(bytes, mayHang ? hangingMs : patienceMs, isHead);
        answers.set(answer, (answers.get(answer) ?? 0) + 1);
        // What it held back would be taken from the next one.
        if (mayHang) connection.close();
        if (answer === 'closed') unanswered.push(bytes.toString('latin1').slice(0, 200));
        const isWrong =
          typeof answer === 'number' ? answer >= 500 && answer !== 503 : answer === 'nothing' && !mayHang;
        if (isWrong) wrong.push(`${answer}: ${bytes.toString('latin1').slice(0, 500)}`);
        answered += 1;
        if (answered % 20_000 === 0) log(`${answered} answered, peak ${subject.peakMemory()} MB`);
      }
      connection.close();
    };
    const half = Math.floor(options.connections / 2);
    const background = [
      postHealthily(subject.port, subject.chunks, ends.signal),
      ...Array.from({ length: half }, (_, n) =>
        beStranger(subject.port, createRandom(options.seed, `stranger ${n}`), ends.signal),
      ),
    ] as const;
    await Promise.all(Array.from({ length: options.connections - half }, (_, n) => mutate(`mutant ${n}`)));
    ends.abort();
    const [healthy, ...held] = (await Promise.all(background)) as [
      Awaited<ReturnType<typeof postHealthily>>,
      ...number[],
    ];
    const seconds = Math.round((Date.now() - startedAt) / 1000);

    const peak = subject.peakMemory();
    const exit = subject.exit();
    const byStatus = [...answers]
      .sort()
      .map(([answer, count]) => `${answer}: ${count.toLocaleString('en-US')}`);
    const facts: Fact[] = [
      shown('mutated requests sent', sent, [byStatus.join(', ')]),
      shown(
        'bodies never ended',
        held.reduce((sum, count) => sum + count, 0),
      ),
      shown('seconds', seconds),
      demanded(
        'answers of 5xx but 503, or none at all',
        wrong.length,
        some(wrong, (text) => text),
      ),
      demanded('crashes', exit === null ? 0 : 1, exit === null ? [] : [exit, ...subject.errors.slice(-5)]),
      shown(
        'errors in the log',
        subject.errors.length,
        some(subject.errors, (text) => text.slice(0, 400)),
      ),
      shown('memory before, MB', before),
      {
        what: 'peak memory, MB',
        value: peak,
        allowed: `≤ ${memoryLimitMb}`,
        verdict: peak <= memoryLimitMb ? 'ok' : 'VIOLATION',
        notes: [],
      },
      shown('healthy posts', healthy.sent, [`${healthy.retried} sent again`]),
      demanded(
        'healthy posts accepted',
        healthy.accepted,
        some(healthy.refused, (text) => text),
        healthy.sent,
      ),
    ];
    return reportOf(facts);
  } finally {
    await endings.run();
  }
}
