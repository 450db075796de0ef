import type { BatchObject } from '../src/simulator/batch-object.ts';
import type { Faults } from '../src/simulator/faults.ts';
import type { Mode } from './hostile-modes.ts';

/** How often each hostile answer was given, by pipeline; that of lists by their route. */
export class Tally {
  readonly #counts = new Map<string, number>();

  /** Takes the faults of a simulator; returns the same, counted. */
  watch(faults: Faults): Faults {
    const { answered, delivered, listed, uploaded, ...rest } = faults;
    return {
      ...rest,
      answered: (route, batch, answer) => this.#seen(answered?.(route, batch, answer), batch, route),
      delivered: (batch, bytes) => this.#seen(delivered?.(batch, bytes), batch, 'download'),
      uploaded: (request) => {
        const instead = uploaded?.(request);
        if (instead !== undefined) this.#count('upload');
        return instead;
      },
      listed: (route, after, page) => {
        let proper: unknown;
        const shown = listed?.(route, after, () => {
          const made = page();
          proper = made;
          return made;
        });
        if (shown !== proper) this.#count(route);
        return shown ?? page();
      },
    };
  }

  of(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  /** Modes whose hostile answer nobody has asked for; those of lines and numbers come with whatever is asked for. */
  unseen(modes: Mode[]): string[] {
    return modes
      .filter(({ pipeline, rules }) => {
        const [{ fault, route } = { fault: '' }] = rules;
        if (route !== undefined) return this.of(route) === 0;
        if (fault === 'upload_redirect') return this.of('upload') === 0;
        if (fault === 'list_broken') return this.of('list') === 0;
        const kind = /^(retrieve|download|create)_/.exec(fault)?.[1];
        return kind !== undefined && this.of(`${kind} ${pipeline}`) === 0;
      })
      .map(({ pipeline }) => pipeline);
  }

  #seen<T>(instead: T | undefined, { metadata }: BatchObject, what: string): T | undefined {
    if (instead !== undefined) this.#count(`${what} ${metadata?.rowmill_pipeline}`);
    return instead;
  }

  #count(name: string): void {
    this.#counts.set(name, this.of(name) + 1);
  }
}
