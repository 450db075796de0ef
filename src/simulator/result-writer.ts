import { seededRandom } from './digest.ts';
import type { FileDraft, FileObject, FileStore, NewFile } from './file-store.ts';

// How far a line can come out from where it went in, and what is held in memory for it.
const shuffledLines = 512;
const writtenUnits = 262_144;

/**
 * Writes the lines of an output or error file in another order than they came, as OpenAI promises none:
 * each new line pushes out a random one of those held back. The seed decides the order.
 */
export class ResultWriter {
  #files: FileStore;
  #random: () => number;
  #held: string[] = [];
  #pending: string[] = [];
  #pendingUnits = 0;
  #hasLetGo = false;
  #draft: FileDraft | null = null;

  constructor(files: FileStore, seed: number) {
    this.#files = files;
    this.#random = seededRandom(seed);
  }

  /** Takes a line without its line feed. Synchronous, since it is called for each; see `isDue`. */
  add(line: string): void {
    if (this.#held.length >= shuffledLines) this.#letGo();
    this.#held.push(line);
  }

  /** Whether enough has gathered to be worth a write. */
  get isDue(): boolean {
    return this.#pendingUnits >= writtenUnits;
  }

  async flush(): Promise<void> {
    await this.#write('\n');
  }

  /** Writes what is left; null, and no file, where there was never a line. A bare file has no final newline. */
  async finish(file: NewFile, isBare = false): Promise<FileObject | null> {
    while (this.#held.length > 0) this.#letGo();
    await this.#write(isBare ? '' : '\n');
    return this.#draft ? this.#draft.keep(file) : null;
  }

  async discard(): Promise<void> {
    await this.#draft?.discard();
  }

  async #write(end: string): Promise<void> {
    if (this.#pending.length === 0) return;
    this.#draft ??= await this.#files.draft();
    const text = this.#pending.join('\n') + end;
    this.#pending = [];
    this.#pendingUnits = 0;
    await this.#draft.write(text);
  }

  #letGo(): void {
    // The line that came first never goes first, so that even two lines come out in another order.
    const skipped = !this.#hasLetGo && this.#held.length > 1 ? 1 : 0;
    const index = skipped + Math.floor(this.#random() * (this.#held.length - skipped));
    const line = this.#held[index]!;
    this.#held[index] = this.#held[this.#held.length - 1]!;
    this.#held.pop();
    this.#hasLetGo = true;
    this.#pending.push(line);
    this.#pendingUnits += line.length;
  }
}
