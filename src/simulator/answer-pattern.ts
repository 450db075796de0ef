import { pick } from './digest.ts';

/**
 * A string that matches a regular expression, for the plain kind that schemas hold: literals, classes,
 * groups, alternatives, quantifiers, anchors. Null where it meets anything else (look-around, back
 * references) or where its own try does not match after all.
 */
export function matchPattern(pattern: string, seed: number): string | null {
  try {
    const made = new PatternReader(pattern, seed).read();
    return readExpression(pattern).test(made) ? made : null;
  } catch {
    return null;
  }
}

/** The expression as JSON Schema reads it, or as JavaScript used to where that is refused: `[\w-.]`. */
export function readExpression(pattern: string): RegExp {
  try {
    return new RegExp(pattern, 'u');
  } catch {
    return new RegExp(pattern);
  }
}

const classes: Record<string, string> = {
  d: '0123456789',
  w: 'abcdefghijklmnopqrstuvwxyz0123456789',
  s: ' ',
};

class PatternReader {
  #pattern: string;
  #seed: number;
  #at = 0;
  #picks = 0;

  constructor(pattern: string, seed: number) {
    this.#pattern = pattern;
    this.#seed = seed;
  }

  read(): string {
    const made = this.#alternatives();
    if (this.#at < this.#pattern.length) throw new Error(`unexpected ${this.#pattern[this.#at]}`);
    return made;
  }

  #pick(limit: number): number {
    return pick(this.#seed, this.#picks++, limit);
  }

  #alternatives(): string {
    const choices = [this.#sequence()];
    while (this.#pattern[this.#at] === '|') {
      this.#at++;
      choices.push(this.#sequence());
    }
    return choices[this.#pick(choices.length)]!;
  }

  #sequence(): string {
    let made = '';
    while (this.#at < this.#pattern.length && !'|)'.includes(this.#pattern[this.#at]!)) {
      const start = this.#at;
      let part = this.#atom();
      const end = this.#at;
      const [least, most] = this.#quantifier();
      const after = this.#at;
      const times = least + this.#pick(most - least + 1);
      if (times === 0) part = '';
      // Read again for each repetition, so that [a-z]{5} is not one letter five times.
      for (let i = 1; i < times; i++) {
        this.#at = start;
        part += this.#atom();
        if (this.#at !== end) throw new Error('an atom ends where it ended before');
      }
      this.#at = after;
      made += part;
    }
    return made;
  }

  #atom(): string {
    const unit = this.#pattern[this.#at++]!;
    if (unit === '^' || unit === '$') return '';
    if (unit === '.') return classes.w![this.#pick(26)]!;
    if (unit === '[') return this.#class();
    if (unit === '\\') return this.#escaped();
    if (unit !== '(') return unit;
    if (this.#pattern[this.#at] === '?') {
      if (this.#pattern[this.#at + 1] !== ':') throw new Error('look-around is not read');
      this.#at += 2;
    }
    const made = this.#alternatives();
    if (this.#pattern[this.#at++] !== ')') throw new Error('a group is not closed');
    return made;
  }

  #escaped(): string {
    const unit = this.#pattern[this.#at++]!;
    const letters = classes[unit];
    if (letters) return letters[this.#pick(letters.length)]!;
    if (/[0-9A-Za-z]/.test(unit)) throw new Error(`\\${unit} is not read`);
    return unit;
  }

  #class(): string {
    if (this.#pattern[this.#at] === '^') throw new Error('negated classes are not read');
    let letters = '';
    while (this.#pattern[this.#at] !== ']') {
      const unit = this.#pattern[this.#at++];
      if (unit === undefined) throw new Error('a class is not closed');
      if (unit === '\\') {
        const escaped = this.#pattern[this.#at++]!;
        letters += classes[escaped] ?? escaped;
      } else if (this.#pattern[this.#at] === '-' && this.#pattern[this.#at + 1] !== ']') {
        const last = this.#pattern.charCodeAt(this.#at + 1);
        for (let code = unit.charCodeAt(0); code <= last; code++) letters += String.fromCharCode(code);
        this.#at += 2;
      } else {
        letters += unit;
      }
    }
    this.#at++;
    return letters[this.#pick(letters.length)]!;
  }

  #quantifier(): [number, number] {
    const rest = this.#pattern.slice(this.#at);
    const found = /^(?:\{(\d+)(,)?(\d+)?\}|[*+?])\??/.exec(rest);
    if (!found) return [1, 1];
    this.#at += found[0].length;
    if (found[0].startsWith('*')) return [0, 2];
    if (found[0].startsWith('+')) return [1, 4];
    if (found[0].startsWith('?')) return [0, 1];
    const least = Number(found[1]);
    return [least, found[3] !== undefined ? Number(found[3]) : found[2] ? least + 2 : least];
  }
}
