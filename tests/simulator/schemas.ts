/** Schemas of many shapes, for checking that every answer satisfies its own. */
const film = {
  type: 'object',
  additionalProperties: false,
  required: ['categories', 'summary'],
  properties: { categories: { type: 'array', items: { type: 'string' } }, summary: { type: 'string' } },
};
const string = { type: 'string' };
const object = (properties: Record<string, unknown>) => ({
  type: 'object',
  additionalProperties: false,
  required: Object.keys(properties),
  properties,
});

export const schemas: Record<string, object> = {
  film,
  nullable: object({ summary: { type: ['string', 'null'] }, year: { type: ['integer', 'null'] } }),
  numbers: object({
    year: { type: 'integer', minimum: 1900, maximum: 1999 },
    rating: { type: 'number', minimum: 0, maximum: 5 },
    narrow: { type: 'number', minimum: 0.01, maximum: 0.02 },
    fixed: { type: 'integer', minimum: 7, maximum: 7 },
    open: { type: 'number', exclusiveMinimum: 3, exclusiveMaximum: 4 },
    whole: { type: ['integer', 'null'], exclusiveMinimum: 3, exclusiveMaximum: 5 },
    even: { type: 'integer', multipleOf: 2, minimum: 11, maximum: 13 },
    cents: { type: 'number', multipleOf: 0.01, minimum: 1, maximum: 2 },
    below: { type: 'integer', maximum: -5 },
    above: { type: 'integer', minimum: 5_000_000_000_000 },
  }),
  enums: object({
    genre: { enum: ['Crime', 'Romance', 'Western'] },
    mood: { type: ['string', 'null'], enum: ['positive', 'negative', null] },
    level: { type: 'integer', enum: [1, 2, 3] },
    kind: { const: 'film' },
    flag: { type: 'boolean' },
    nothing: { type: 'null' },
  }),
  formats: object({
    date: { type: 'string', format: 'date' },
    time: { type: 'string', format: 'time' },
    seen_at: { type: 'string', format: 'date-time' },
    length: { type: 'string', format: 'duration' },
    mail: { type: 'string', format: 'email' },
    host: { type: 'string', format: 'hostname' },
    v4: { type: 'string', format: 'ipv4' },
    v6: { type: 'string', format: 'ipv6' },
    id: { type: 'string', format: 'uuid' },
    link: { type: 'string', format: 'uri' },
  }),
  patterns: object({
    code: { type: 'string', pattern: '^[A-Z]{3}-\\d{2,4}$' },
    amount: { type: 'string', pattern: '^-?(?:0|[1-9][0-9]*)(\\.[0-9]+)?$' },
    word: { type: 'string', pattern: 'yes|no' },
    short: { type: 'string', maxLength: 10 },
    long: { type: 'string', minLength: 300 },
  }),
  arrays: object({
    none: { type: 'array', items: string, maxItems: 0 },
    one: { type: 'array', items: string, minItems: 1, maxItems: 1 },
    many: { type: 'array', items: string, minItems: 8, uniqueItems: true },
    picked: { type: 'array', items: { enum: ['Crime', 'Drama', 'War'] }, uniqueItems: true, minItems: 1 },
    people: { type: 'array', items: object({ name: string, age: { type: 'integer' } }), minItems: 3 },
    grid: { type: 'array', items: { type: 'array', items: { type: 'number' } } },
  }),
  references: {
    ...object({
      first: { $ref: '#/$defs/person' },
      second: { anyOf: [{ $ref: '#/$defs/person' }, { type: 'null' }] },
    }),
    $defs: {
      person: object({ name: string, tags: { type: 'array', items: { $ref: '#/$defs/tag' } } }),
      tag: string,
    },
  },
  recursive: object({
    name: string,
    child: { anyOf: [{ type: 'null' }, { $ref: '#' }] },
    children: { type: 'array', items: { $ref: '#' } },
  }),
  combined: object({
    either: { anyOf: [{ type: 'integer' }, { type: 'string' }], description: 'a number or a text' },
    both: { allOf: [object({ a: string }), { type: 'object' }] },
    one: { oneOf: [{ type: 'null' }, { type: 'boolean' }] },
  }),
  'odd names': object({ __proto__x: string, 'with "quotes"': string, '': string, 'ünï\u2028code': string }),
  'only a word list': object({ tags: { type: 'array', items: string } }),
};
