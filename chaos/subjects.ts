/** A table with a pipeline over it. Its rows are known by `id`, whatever else its key holds. */
export type Subject = {
  /** Name of the table and of the pipeline. */
  name: string;
  /** Of all rows. */
  share: number;
  table: string;
  pipeline: string;
  key: string;
  /** The input column that is edited. */
  textColumn: string;
  /** Columns that the prompt names. */
  inputs: string[];
  outputs: string[];
  /** Everything that an import writes of a row, by column. */
  fields(id: number, text: string): Record<string, string | number>;
};

/** Three shapes: the usual one; a composite key, a number among the inputs and typed outputs; plain text. */
export const subjects: readonly Subject[] = [
  {
    name: 'films',
    share: 0.6,
    table: `create table films (
      id bigint primary key, title text, description text, note text,
      categories text[], summary text
    )`,
    pipeline: `select rowmill.create_pipeline(
      name => 'films', source => 'films', instructions => 'Extract the film''s categories and a summary.',
      prompt => E'Title: {{title}}\\nDescription: {{description}}', outputs => array['categories', 'summary'],
      model => 'gpt-4o-mini', chunk_size => 200, flush_after => '1 second', max_attempts => 10
    )`,
    key: 'id',
    textColumn: 'description',
    inputs: ['title', 'description'],
    outputs: ['categories', 'summary'],
    fields: (id, text) => ({ id, title: `Film ${id}`, description: text }),
  },
  {
    name: 'reviews',
    share: 0.25,
    table: `create table reviews (
      id bigint, shop text, body text, given integer, note text,
      stars integer, is_positive boolean, tags text[], gist text,
      primary key (id, shop)
    )`,
    pipeline: `select rowmill.create_pipeline(
      name => 'reviews', source => 'reviews', instructions => 'Judge the review.',
      prompt => E'Review: {{body}}\\nStars given: {{given}}', outputs => array['stars', 'is_positive', 'tags', 'gist'],
      model => 'gpt-4o-mini', chunk_size => 120, flush_after => '1 second', max_attempts => 10
    )`,
    key: 'id, shop',
    textColumn: 'body',
    inputs: ['body', 'given'],
    outputs: ['stars', 'is_positive', 'tags', 'gist'],
    fields: (id, text) => ({ id, shop: `shop ${Math.abs(id) % 7}`, body: text, given: Math.abs(id) % 5 }),
  },
  {
    name: 'tickets',
    share: 0.15,
    table: `create table tickets (id bigint primary key, message text, note text, reply text)`,
    pipeline: `select rowmill.create_pipeline(
      name => 'tickets', source => 'tickets', instructions => 'Answer the customer.', prompt => 'Message: {{message}}',
      outputs => array['reply'], model => 'gpt-4o-mini', format => 'text', endpoint => '/v1/responses',
      chunk_size => 60, flush_after => '1 second', max_attempts => 10
    )`,
    key: 'id',
    textColumn: 'message',
    inputs: ['message'],
    outputs: ['reply'],
    fields: (id, text) => ({ id, message: text }),
  },
];
