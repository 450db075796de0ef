import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../src/errors.ts';
import type { HostileWorld } from './hostile-world.ts';

const beatMs = 500;
const sentencesEveryMs = 2_000;
/** A probe that is not answered within this found a worker that hangs. */
const probeMs = 15_000;

type Said = { name: string; open: boolean; problem: string | null; batch: string | null; row: string | null };

/** What was seen of the worker while it ran. */
export class Watch {
  /** The most memory that a worker process ever had, in megabytes. */
  peakMb = 0;
  /** Probes without an answer, or with one of 500 and more. */
  readonly refusedProbes: string[] = [];
  slowestProbeMs = 0;
  /** By pipeline and by where it stood: the last sentence that said what is wrong. */
  readonly sentences = new Map<string, Map<string, string>>();
  /** Hostile pipelines with rows under way. */
  #open = new Set<string>();
  readonly #end = new AbortController();
  readonly #loops: Promise<void>[];

  constructor(world: HostileWorld) {
    this.#loops = [
      this.#every(beatMs, () => this.#weigh(world.workers.pids)),
      this.#every(beatMs, () => this.#probe(world.workerUrl)),
      this.#every(sentencesEveryMs, () => this.#listen(world)),
    ];
    // Told to who stops it, who may come later than the failure.
    for (const loop of this.#loops) loop.catch(() => {});
  }

  /** Pipelines that may say something yet: with rows under way, and no sentence so far. */
  get silent(): string[] {
    return [...this.#open].filter((name) => this.sentences.get(name)!.size === 0);
  }

  /** No more looks. Harmless to repeat. */
  end(): void {
    this.#end.abort();
  }

  /** A last look, and no more. */
  async stop(world: HostileWorld): Promise<void> {
    this.end();
    await Promise.all(this.#loops);
    await this.#listen(world);
    await this.#weigh(world.workers.pids);
  }

  async #every(ms: number, look: () => Promise<void>): Promise<void> {
    while (!this.#end.signal.aborted) {
      await look();
      await delay(ms, undefined, { signal: this.#end.signal }).catch(() => {});
    }
  }

  async #weigh(pids: number[]): Promise<void> {
    for (const pid of pids) {
      // What the kernel saw between two looks as well.
      const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
      const kilobytes = Number(/VmHWM:\s*(\d+)/.exec(status)?.[1] ?? 0);
      this.peakMb = Math.max(this.peakMb, Math.round(kilobytes / 1024));
    }
  }

  async #probe(url: string): Promise<void> {
    for (const path of ['/healthz', '/readyz', '/metrics']) {
      const startedAt = performance.now();
      try {
        const response = await fetch(`${url}${path}`, { signal: AbortSignal.timeout(probeMs) });
        await response.arrayBuffer();
        if (response.status >= 500) this.refusedProbes.push(`${path}: ${response.status}`);
      } catch (error) {
        this.refusedProbes.push(`${path}: ${messageOf(error)}`);
      }
      this.slowestProbeMs = Math.max(this.slowestProbeMs, Math.round(performance.now() - startedAt));
    }
  }

  async #listen({ observer, modes }: HostileWorld): Promise<void> {
    const names = `{${[...modes.values()].map(({ name }) => name)}}`;
    const rows = await observer.run(
      (sql) => sql<Said[]>`
        select s.name, s.pending + s.waiting + s.in_flight + s.retrying > 0 as open, s.problem,
          (select left(b.problem, 300) from rowmill.batch_status as b
            where b.pipeline = s.name and b.problem is not null order by b.batch_id desc limit 1) as batch,
          (select left(f.error_class || ': ' || f.message, 300) from rowmill.row_failures as f
            where f.pipeline = s.name order by f.last_at desc limit 1) as row
        from rowmill.pipeline_status as s where s.name = any (${names}::text::text[])`,
    );
    this.#open = new Set(rows.filter(({ open }) => open).map(({ name }) => name));
    for (const { name, open: _open, ...said } of rows) {
      const known = this.sentences.get(name) ?? new Map<string, string>();
      this.sentences.set(name, known);
      for (const [where, sentence] of Object.entries(said)) if (sentence) known.set(where, sentence);
    }
  }
}
