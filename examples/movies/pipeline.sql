select rowmill.create_pipeline(
  name         => 'movies',
  source       => 'public.imdb_dataset',
  instructions => 'Extract the film''s categories and a one-sentence summary.',
  prompt       => E'Title: {{Title}}\nDescription: {{Description}}',
  outputs      => array['categories', 'summary'],
  model        => 'gpt-4o-mini',
  flush_after  => '1 second' -- a minute by default; somebody watches here
);
