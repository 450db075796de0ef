import type { Subject } from './subjects.ts';

export type Version = { subject: Subject; id: number; text: string };

/**
 * Every text that was ever sent to the database, committed or not. None is used twice, not even when a statement
 * is repeated because its answer was lost: so a prompt that is paid for twice is one version paid for twice.
 */
export class Versions {
  readonly all: Version[] = [];

  /** A new text for a row. */
  next(subject: Subject, id: number): string {
    const text = `${subject.name} ${id} version ${this.all.length + 1}, about love and war in a small town by the sea.`;
    this.all.push({ subject, id, text });
    return text;
  }

  of(subject: Subject, id: number): Version[] {
    return this.all.filter((version) => version.subject === subject && version.id === id);
  }
}
