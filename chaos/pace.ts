/**
 * Keeps kills and writing in step: the import ends when some 60 % of the kills have happened, the edits go on until
 * nearly all have. Whoever is ahead waits.
 */
export class Pace {
  readonly rows: number;
  readonly kills: number;
  rowsDone = 0;
  killsDone = 0;
  #waiting = new Set<() => void>();

  constructor(rows: number, kills: number) {
    this.rows = rows;
    this.kills = kills;
  }

  wrote(rows: number): void {
    this.rowsDone += rows;
    this.#moved();
  }

  killed(): void {
    this.killsDone += 1;
    this.#moved();
  }

  /** Until the next rows may be written. */
  forImport(signal: AbortSignal): Promise<void> {
    return this.#until(() => this.#imported() <= this.#killShare() / 0.6 + 0.05, signal);
  }

  /** Until the next kill is due. */
  forKill(signal: AbortSignal): Promise<void> {
    return this.#until(
      () => this.#imported() === 1 || this.#killShare() / 0.6 <= this.#imported() + 0.1,
      signal,
    );
  }

  /** Until so much of the time after the import, from 0 to 1, is over. */
  forLateEdit(progress: number, signal: AbortSignal): Promise<void> {
    return this.#until(() => this.#killShare() >= 0.6 + 0.38 * progress, signal);
  }

  #imported(): number {
    return this.rowsDone / this.rows;
  }

  #killShare(): number {
    return this.kills === 0 ? 1 : this.killsDone / this.kills;
  }

  async #until(isDue: () => boolean, signal: AbortSignal): Promise<void> {
    while (!isDue()) {
      signal.throwIfAborted();
      await new Promise<void>((resolve) => {
        const go = () => {
          this.#waiting.delete(go);
          signal.removeEventListener('abort', go);
          resolve();
        };
        this.#waiting.add(go);
        signal.addEventListener('abort', go);
      });
    }
    signal.throwIfAborted();
  }

  #moved(): void {
    for (const go of [...this.#waiting]) go();
  }
}
