-- An example to look at: a few films, and a pipeline that fills two columns of theirs. Nothing is sent, and nothing is
-- paid, before a worker runs. To be run on a migrated database, as often as one likes.

create table if not exists public.example_movies (
  title text primary key,
  description text not null,
  categories text[],
  summary text
);
-- Tables in "public" are reachable through Supabase's API. Whoever is signed in may read this one.
alter table public.example_movies enable row level security;
drop policy if exists example_movies_are_read_by_users on public.example_movies;
create policy example_movies_are_read_by_users on public.example_movies for select to authenticated using (true);
-- A comment tells the model what belongs into a column.
comment on table public.example_movies is 'Films for a first look at Rowmill; drop it when you have tables of your own.';
comment on column public.example_movies.categories is 'Two to four genres or themes, each one or two words in lower case.';
comment on column public.example_movies.summary is 'One sentence of at most 25 words that does not give the ending away.';

insert into public.example_movies (title, description) values
  ('Metropolis', 'In a city of the future, the son of its master follows a woman down to the workers who keep it running.'),
  ('Modern Times', 'A factory worker who cannot keep up with the assembly line looks for a place in the world with an orphaned girl.'),
  ('The General', 'A railway engineer goes behind enemy lines, alone, to win back his stolen locomotive.'),
  ('Nosferatu', 'A young clerk travels to the Carpathians to sell a house to a count whom nobody has seen by day.')
on conflict (title) do nothing;

select rowmill.create_pipeline(
  name         => 'example_movies',
  source       => 'public.example_movies',
  instructions => 'Extract the film''s categories and a one-sentence summary.',
  prompt       => E'Title: {{title}}\nDescription: {{description}}',
  outputs      => array['categories', 'summary'],
  model        => 'gpt-4o-mini',
  backfill     => true
)
where not exists (select from rowmill.pipeline_status as s where s.name = 'example_movies');
