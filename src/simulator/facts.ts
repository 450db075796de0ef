import { digestOf } from './digest.ts';
import { categoriesIn, notableWords, sentimentOf } from './lexicon.ts';

// What is looked at of a prompt; the digest alone covers the whole of it.
const scannedUnits = 4_000;
const contentLabels = [
  ...['description', 'overview', 'plot', 'synopsis', 'summary', 'abstract', 'text', 'body', 'content'],
  ...['review', 'message', 'comment', 'question'],
];
const titleLabels = ['title', 'name', 'product', 'headline', 'subject'];

/** Cuts a text to so many UTF-16 units without halving a surrogate pair. */
export function cutTo(text: string, units: number): string {
  if (text.length <= units) return text;
  const last = text.charCodeAt(units - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? units - 1 : units);
}

/** What answers are made from: read off a prompt on demand, since most schemas ask for little of it. */
export class Facts {
  readonly text: string;
  readonly digest: number;
  #start: string;
  #lower: string | undefined;
  #fields: Map<string, string> | undefined;
  #categories: string[] | undefined;
  #words: string[] | undefined;
  #summary: string | undefined;

  constructor(text: string, digest = digestOf(text)) {
    this.text = text;
    this.digest = digest;
    this.#start = cutTo(text, scannedUnits);
  }

  get lower(): string {
    this.#lower ??= this.#start.toLowerCase();
    return this.#lower;
  }

  /** The values of lines such as "Title: …", by label in lower case; a value goes on until the next label. */
  get fields(): Map<string, string> {
    this.#fields ??= fieldsOf(this.#start);
    return this.#fields;
  }

  get title(): string {
    return cutTo(tidy(firstOf(this.fields, titleLabels) ?? ''), 120);
  }

  /** What the prompt is about: the longest text among its labelled values, or all of it. */
  get content(): string {
    return firstOf(this.fields, contentLabels) ?? this.#start;
  }

  get categories(): string[] {
    if (this.#categories === undefined) {
      const known = categoriesIn(this.lower.slice(0, 1_000), 3);
      this.#categories = known.length > 0 ? known : this.words.slice(0, 2);
    }
    return this.#categories;
  }

  /** Never empty. */
  get words(): string[] {
    if (this.#words === undefined) {
      const words = notableWords(`${cutTo(this.title, 80)} ${cutTo(this.content, 600)}`, 6);
      this.#words = words.length > 0 ? words : ['Unknown'];
    }
    return this.#words;
  }

  get sentiment(): 'positive' | 'negative' | 'neutral' {
    return sentimentOf(this.lower);
  }

  /** A few letters that stand for the whole prompt. */
  get tag(): string {
    return (this.digest % 60_466_176).toString(36).padStart(5, '0');
  }

  /**
   * The title and the first sentence, or its first twenty words. Where that leaves anything of the prompt
   * out, the tag is appended: prompts that differ only further on must get different answers, or a test
   * could not tell a stale answer from a fresh one.
   */
  get summary(): string {
    this.#summary ??= this.#summarize();
    return this.#summary;
  }

  #summarize(): string {
    const sentence = firstSentence(tidy(cutTo(this.content, 400)));
    const said = this.title && this.title !== sentence ? `${this.title}: ${sentence}` : sentence;
    if (said === '') return this.text === '' ? 'Nothing was given.' : `Nothing was said. [${this.tag}]`;
    return said === this.text ? said : `${said} [${this.tag}]`;
  }
}

function tidy(text: string): string {
  // Not \s: a U+2028 in the text shall come out in the answer, for readers to cope with.
  // Single spaces, most of what there is, are not matched at all.
  return text.replace(/[ \t\r\n]{2,}|[\t\r\n]/g, ' ').trim();
}

function firstSentence(text: string): string {
  let words = 0;
  for (let i = 0; i < text.length && i < 220; i++) {
    const unit = text[i]!;
    const ends = (unit === '.' || unit === '!' || unit === '?') && (text[i + 1] ?? ' ') === ' ' && i > 12;
    if (ends || unit === '。') return text.slice(0, i + 1);
    if (unit === ' ' && ++words === 20) return `${text.slice(0, i)}…`;
  }
  return text.length <= 220 ? text : `${cutTo(text, 200)}…`;
}

function firstOf(fields: Map<string, string>, labels: string[]): string | undefined {
  for (const label of labels) {
    const value = fields.get(label);
    if (value !== undefined && value.trim() !== '') return value;
  }
  return undefined;
}

function fieldsOf(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  let label = '';
  for (const line of text.split('\n', 60)) {
    const colon = line.indexOf(':');
    if (colon > 0 && colon <= 40 && /^[\p{L}_][\p{L}\p{N} _.-]*$/u.test(line.slice(0, colon))) {
      label = line.slice(0, colon).trim().toLowerCase();
      if (!fields.has(label)) fields.set(label, line.slice(colon + 1).trim());
    } else if (label !== '') {
      fields.set(label, `${fields.get(label)}\n${line}`);
    }
  }
  return fields;
}
