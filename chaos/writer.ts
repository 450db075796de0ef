import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type postgres from 'postgres';
import type { Connection } from './connection.ts';
import type { Unit } from './plan.ts';
import type { Random } from './random.ts';
import type { Subject } from './subjects.ts';
import type { Versions } from './versions.ts';

/**
 * A user who writes through one connection. Rows that it inserted are its own to edit and delete: two of these never
 * wait for each other, so that every deadlock is Rowmill's.
 */
export class Writer {
  /** Rows that are there, by table. */
  readonly alive = new Map<Subject, number[]>();
  readonly #connection: Connection;
  readonly #versions: Versions;
  readonly #random: Random;

  constructor(connection: Connection, versions: Versions, random: Random) {
    this.#connection = connection;
    this.#versions = versions;
    this.#random = random;
  }

  /** Writes a unit of the import. */
  async write({ kind, subject, ids, undoneIds }: Unit): Promise<void> {
    if (kind === 'singles') {
      for (const id of ids) await this.#connection.run((sql) => this.#insert(sql, subject, [id]));
    } else if (kind === 'copy') {
      await this.#copy(subject, ids);
    } else if (kind === 'rollback') {
      await this.#rollBack(subject, undoneIds);
    } else if (kind === 'transaction') {
      await this.#connection.run((sql) => {
        const third = Math.ceil(ids.length / 3);
        const statements = [this.#insertion(subject, ids.slice(0, third))];
        if (undoneIds.length > 0)
          statements.push('savepoint s', this.#insertion(subject, undoneIds), 'rollback to savepoint s');
        for (let from = third; from < ids.length; from += third)
          statements.push(this.#insertion(subject, ids.slice(from, from + third)));
        return atOnce(sql, ['begin', ...statements, 'commit']);
      });
    } else {
      await this.#connection.run((sql) => this.#insert(sql, subject, ids, kind === 'upsert'));
    }
    if (!this.alive.has(subject)) this.alive.set(subject, []);
    this.alive.get(subject)!.push(...ids);
  }

  /** Gives some rows new texts, one statement for all of them. */
  async edit(subject: Subject, ids: number[]): Promise<void> {
    await this.#connection.run((sql) =>
      sql.unsafe(
        `update ${subject.name} as t set ${subject.textColumn} = r.text
         from jsonb_to_recordset($1::text::jsonb) as r(id bigint, text text) where t.id = r.id`,
        [JSON.stringify(ids.map((id) => ({ id, text: this.#versions.next(subject, id) })))],
      ),
    );
  }

  /** Writes a column that no prompt reads. */
  async annotate(subject: Subject, ids: number[]): Promise<void> {
    const note = `noted ${this.#random.next()}`;
    await this.#connection.run((sql) =>
      sql.unsafe(`update ${subject.name} set note = $2 where id = any ($1::text::bigint[])`, [
        array(ids),
        note,
      ]),
    );
  }

  async delete(subject: Subject, ids: number[]): Promise<void> {
    // Before, not after: it may happen though its answer is lost.
    const gone = new Set(ids);
    this.alive.set(
      subject,
      this.alive.get(subject)!.filter((id) => !gone.has(id)),
    );
    await this.#connection.run((sql) =>
      sql.unsafe(`delete from ${subject.name} where id = any ($1::text::bigint[])`, [array(ids)]),
    );
  }

  async #insert(sql: postgres.Sql, subject: Subject, ids: number[], isUpsert = false): Promise<void> {
    await sql.unsafe(this.#insertion(subject, ids, isUpsert));
  }

  #insertion(subject: Subject, ids: number[], isUpsert = false): string {
    const rows = ids.map((id) => subject.fields(id, this.#versions.next(subject, id)));
    const columns = Object.keys(rows[0]!).join(', ');
    const text = subject.textColumn;
    return `insert into ${subject.name} (${columns})
      select ${columns} from jsonb_populate_recordset(null::${subject.name}, ${literal(JSON.stringify(rows))})
      on conflict ${isUpsert ? `(${subject.key}) do update set ${text} = excluded.${text}` : 'do nothing'}`;
  }

  /** COPY knows no conflict, so a second try, which may find the first one's rows, is an insert. */
  async #copy(subject: Subject, ids: number[]): Promise<void> {
    let isFirst = true;
    await this.#connection.run(async (sql) => {
      if (!isFirst) return await this.#insert(sql, subject, ids);
      isFirst = false;
      const rows = ids.map((id) => subject.fields(id, this.#versions.next(subject, id)));
      const columns = Object.keys(rows[0]!).join(', ');
      const target = await sql.unsafe(`copy ${subject.name} (${columns}) from stdin`).writable();
      await pipeline(Readable.from(rows.map((row) => `${Object.values(row).join('\t')}\n`)), target);
    });
  }

  async #rollBack(subject: Subject, ids: number[]): Promise<void> {
    await this.#connection.run((sql) => atOnce(sql, ['begin', this.#insertion(subject, ids), 'rollback']));
  }
}

/**
 * A transaction in one message. Not postgres.js's own: where the server dies between two statements of it, 3.4.9 writes
 * the next one to a socket that is gone, outside of any promise, and the process ends.
 */
async function atOnce(sql: postgres.Sql, statements: string[]): Promise<void> {
  await sql.unsafe(statements.join(';\n')).simple();
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

function array(ids: number[]): string {
  return `{${ids.join(',')}}`;
}
