import { Ajv } from 'ajv';
import { describe, expect, it } from 'vitest';
import { answerText } from '../../src/simulator/answer.ts';
import { schemas } from './schemas.ts';

const ajv = new Ajv({ strict: false });
const formats = {
  date: /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$/,
  time: /^([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ$/,
  'date-time': /^\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\dZ$/,
  duration: /^P\d+DT\d+H$/,
  email: /^[^@\s]+@[^@\s]+\.\w+$/,
  hostname: /^[a-z0-9-]+(\.[a-z0-9-]+)+$/,
  ipv4: /^(\d{1,3}\.){3}\d{1,3}$/,
  ipv6: /^2001:db8::[0-9a-f]{1,4}$/,
  uuid: /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  uri: /^https:\/\/[^\s]+$/,
};
for (const [name, format] of Object.entries(formats)) ajv.addFormat(name, format);

const film = (title: string, description: string) => `Title: ${title}\nDescription: ${description}`;
const parse = (prompt: string, schema: object) => JSON.parse(answerText(prompt, schema));
const hostile: Record<string, string> = {
  empty: '',
  blank: ' \n\t\r\n ',
  quotes: 'He said "no" \\ and \'yes\' \u0000 \b',
  'line separators': 'one\u2028two\u0085three\r\nfour',
  'lone surrogates': '\ud800 text \udc00',
  emoji: `${'👩‍🚀'.repeat(200)}`,
  'one endless word': 'x'.repeat(100_000),
  'a long text': 'word '.repeat(20_000),
  'labels without values': 'Title:\nDescription:\n',
  'only punctuation': '!!! ??? ...',
  'another script': '映画：宇宙の話。彼は旅に出る。',
};

describe('an answer', () => {
  for (const [name, schema] of Object.entries(schemas)) {
    it(`satisfies its schema (${name})`, () => {
      const validate = ajv.compile(schema);
      const prompts = [...Object.values(hostile), film('Heat', 'A detective hunts a robbery crew.')];
      for (let row = 0; row < 40; row++) prompts.push(`row ${row}`);
      for (const prompt of prompts) {
        const answer = parse(prompt, schema);
        expect(validate(answer), `${JSON.stringify(answer)} ${ajv.errorsText(validate.errors)}`).toBe(true);
      }
    });
  }

  it('is well-formed Unicode and short, whatever the prompt holds', () => {
    for (const [name, prompt] of Object.entries(hostile)) {
      const text = answerText(prompt, schemas.film);
      expect(text.isWellFormed(), name).toBe(true);
      expect(text.length, name).toBeLessThan(1_500);
      if (prompt.isWellFormed()) expect(JSON.parse(text).summary.isWellFormed(), name).toBe(true);
    }
  });

  it('is the same for the same prompt', () => {
    for (const schema of Object.values(schemas)) {
      expect(answerText('row 17', schema)).toBe(answerText('row 17', schema));
    }
  });

  it('differs where the prompt differs in a number alone', () => {
    for (const schema of [
      schemas.film!,
      schemas.nullable!,
      schemas.recursive!,
      schemas['only a word list']!,
    ]) {
      const answers = new Set<string>();
      for (let row = 0; row < 500; row++) answers.add(answerText(`Tell me about row ${row}`, schema));
      expect(answers.size).toBe(500);
    }
  });

  it('differs where long prompts differ in their last word alone', () => {
    const text = film('Heat', 'A long story. '.repeat(500));
    expect(answerText(`${text} (edited)`, schemas.film)).not.toBe(answerText(text, schemas.film));
  });

  it('names the categories that the words of the text speak for', () => {
    const categories = (text: string) => parse(film('X', text), schemas.film!).categories;
    expect(categories('A murder in a small town; the police are puzzled.')).toContain('Crime');
    expect(categories('They fall in love before their marriage.')).toContain('Romance');
    expect(categories('A spaceship is lost in space.')).toContain('Science Fiction');
    expect(categories('Soldiers return home after the war.')).toContain('War');
  });

  it('begins the summary with the title and the first sentence', () => {
    const { summary } = parse(film('Heat', 'A detective hunts a crew. They meet.'), schemas.film!);
    expect(summary).toMatch(/^Heat: A detective hunts a crew\./);
  });

  it('takes the values that the prompt names', () => {
    const answer = parse('Title: Psycho (1960)\nRating: 4.5\nDescription: A murder.', schemas.numbers!);
    expect(answer).toMatchObject({ year: 1960, rating: 4.5 });
  });

  it('chooses the enum value that the text names', () => {
    expect(parse('A western, of sorts', schemas.enums!).genre).toBe('Western');
    expect(parse('A terrible film', schemas.enums!).mood).toBe('negative');
  });

  it('holds JSON text where the description says so', () => {
    const schema = {
      type: 'object',
      properties: { details: { type: ['string', 'null'], description: 'A JSON document, as text.' } },
    };
    for (const prompt of Object.values(hostile)) {
      expect(JSON.parse(parse(prompt, schema).details)).toHaveProperty('summary');
    }
  });

  it('keeps a U+2028 of the prompt as it is', () => {
    expect(parse('one\u2028two', schemas.film!).summary).toContain('one\u2028two');
  });

  it('is a sentence about the prompt where there is no schema', () => {
    expect(answerText('The cat sat on the mat.')).toBe('In short: The cat sat on the mat.');
  });
});
