import { text } from 'node:stream/consumers';
import papaparse from 'papaparse';
import { describe, expect, test } from 'vitest';
import { pieceBytes } from '../../examples/demo/csv-import.ts';
import { type Film, filmColumns, openCsv, readFilms, someFilms } from '../../examples/demo/films.ts';

const films = readFilms();
const unique = (values: string[]) => new Set(values).size;

describe('the file of films', () => {
  test('holds at least 250 films, no title and no description twice', () => {
    expect(films.length).toBeGreaterThanOrEqual(250);
    expect(unique(films.map((film) => film.Title))).toBe(films.length);
    expect(unique(films.map((film) => film.Description))).toBe(films.length);
  });

  test('has every field of every film filled, and a year that is one', () => {
    for (const film of films) {
      expect(Object.keys(film)).toEqual(filmColumns);
      expect(Object.values(film).every((value) => value.trim() !== '')).toBe(true);
      expect(film.Year).toMatch(/^(19|20)\d\d$/);
    }
  });
});

describe('taking some of the films', () => {
  test('fewer than the file has are its first ones', () => {
    expect([...someFilms(films, 10)]).toEqual(films.slice(0, 10));
  });

  test('more than the file has differ in title and description', () => {
    const rows = films.length * 2 + 7;
    const taken = [...someFilms(films, rows)];
    expect(taken).toHaveLength(rows);
    expect(unique(taken.map((film) => film.Title))).toBe(rows);
    expect(unique(taken.map((film) => film.Description))).toBe(rows);
    expect(taken[films.length]?.Title).toBe(`${films[0]?.Title} (cut 2)`);
    expect(taken.at(-1)?.Description).toMatch(/ \(cut 3\)$/);
  });

  test.each([1, 300, films.length + 1])('the CSV of %i films reads back as those films', async (rows) => {
    const { data } = papaparse.parse<Film>(await text(openCsv(films, rows)), {
      header: true,
      skipEmptyLines: true,
    });
    expect(data).toEqual([...someFilms(films, rows)]);
  });

  test('the CSV comes in pieces of 0.1 MB, whether it is the file or made up', async () => {
    for (const rows of [undefined, 2000]) {
      const sizes: number[] = [];
      for await (const piece of openCsv(films, rows)) sizes.push(Buffer.byteLength(piece));
      const last = sizes.pop();
      expect(last).toBeLessThanOrEqual(pieceBytes + 4);
      // A character that a cut would split is in the piece after it.
      for (const size of sizes) expect(Math.abs(size - pieceBytes)).toBeLessThan(4);
    }
  });
});
