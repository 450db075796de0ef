import { createReadStream, readFileSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import papaparse from 'papaparse';
import { pieceBytes } from './csv-import.ts';

export const filmColumns = ['Title', 'Year', 'Director', 'Description'] as const;
export type Film = Record<(typeof filmColumns)[number], string>;

export const filmsFile = path.join(import.meta.dirname, '..', 'movies', 'movies.csv');

/** The films of the file, in its order. */
export function readFilms(): Film[] {
  const text = readFileSync(filmsFile, 'utf8');
  const { data, errors } = papaparse.parse<Film>(text, { header: true, skipEmptyLines: true });
  if (errors.length > 0) throw new Error(`${filmsFile} is broken: ${JSON.stringify(errors[0])}`);
  return data;
}

/** So many films: the first ones, or all of them over and over, each round with a title and text of its own. */
export function* someFilms(films: Film[], rows: number): Generator<Film> {
  for (let n = 0; n < rows; n++) {
    const film = films[n % films.length]!;
    const round = Math.floor(n / films.length) + 1;
    if (round === 1) yield film;
    else {
      const cut = ` (cut ${round})`;
      yield { ...film, Title: film.Title + cut, Description: film.Description + cut };
    }
  }
}

/** The CSV to import: the file itself, or one of `rows` films that exists only while it is read. */
export function openCsv(films: Film[], rows: number | undefined): Readable {
  if (rows === undefined) {
    return createReadStream(filmsFile, { encoding: 'utf8', highWaterMark: pieceBytes });
  }
  return Readable.from(cut(csvLines(someFilms(films, rows)), pieceBytes), { highWaterMark: 1 });
}

function* csvLines(films: Iterable<Film>): Generator<string> {
  yield `${filmColumns.join(',')}\r\n`;
  for (const film of films) {
    yield `${papaparse.unparse([filmColumns.map((column) => film[column])])}\r\n`;
  }
}

/** Cuts as a file is cut, in the midst of lines; a character that a cut would split goes to the next piece. */
function* cut(lines: Iterable<string>, bytes: number): Generator<string> {
  const decoder = new TextDecoder();
  let pieces: Buffer[] = [];
  let held = 0;
  for (const line of lines) {
    let rest: Buffer = Buffer.from(line);
    while (held + rest.length >= bytes) {
      const head = rest.subarray(0, bytes - held);
      rest = rest.subarray(head.length);
      yield decoder.decode(Buffer.concat([...pieces, head]), { stream: true });
      pieces = [];
      held = 0;
    }
    pieces.push(rest);
    held += rest.length;
  }
  if (held > 0) yield decoder.decode(Buffer.concat(pieces));
}
