import { ApiError } from './postgrest-errors.ts';
import type { Relation, Routine } from './postgrest-schema.ts';

export type Statement = { text: string; isReadOnly: boolean };
/** What each statement returns: how many rows there are, how many of them came, and those as JSON text. */
export type Page = { total: number | null; came: number; body: string };

const bodies = {
  // Thrown away; a value that nobody reads would not be computed.
  void: `coalesce(json_agg(t.pgrst_scalar) -> 0, 'null')::text`,
  scalar: `coalesce(json_agg(t.pgrst_scalar) -> 0, 'null')::text`,
  scalars: `coalesce(json_agg(t.pgrst_scalar), '[]')::text`,
  row: `coalesce(json_agg(t) -> 0, 'null')::text`,
  rows: `coalesce(json_agg(t), '[]')::text`,
};

/**
 * A call, its one parameter being the text of the request. The function runs once: the statement that counts its rows
 * reads the same common table expression, and one that is read twice is not folded into its readers.
 */
export function callStatement(
  routine: Routine,
  argNames: string[],
  options: { isCounted: boolean; maxRows: number | null },
): Statement {
  const { schema, name, args, returns } = routine;
  const given = args.filter((arg) => argNames.includes(arg.name));
  const passed = given.map((arg) => `${ident(arg.name)} := b.${ident(arg.name)}`).join(', ');
  const fn = `${ident(schema)}.${ident(name)}(${passed})`;
  const isScalar = returns !== 'row' && returns !== 'rows';
  const call = isScalar ? `(select ${fn} as pgrst_scalar) as c` : `${fn} as c`;
  const types = given.map((arg) => `${ident(arg.name)} ${arg.type}`).join(', ');
  const from =
    given.length === 0
      ? `(select $1::text) as request, lateral ${call}`
      : `(select $1::text::json as request) as r, lateral (select * from json_to_record(r.request) as _(${types})) as b, lateral ${call}`;
  const source = `select ${isScalar ? 'c.pgrst_scalar' : 'c.*'} from ${from}`;
  const came = returns === 'rows' || returns === 'scalars' ? 'count(t)' : '1';
  return { text: pageOf(source, came, bodies[returns], options), isReadOnly: !routine.is_volatile };
}

export function insertStatement(relation: Relation, request: unknown, isReturned: boolean): Statement {
  const names = columnsOf(request);
  for (const name of names) {
    if (name in relation.columns) continue;
    const message = `Could not find the '${name}' column of '${relation.name}' in the schema cache`;
    throw new ApiError(400, 'PGRST204', message);
  }
  const isArray = Array.isArray(request);
  const columns = names.map(ident).join(', ');
  const types = names.map((name) => `${ident(name)} ${relation.columns[name]}`).join(', ');
  const values =
    names.length === 0
      ? isArray
        ? 'select where $1::text is null'
        : 'select from (select $1::text) as r'
      : `select ${columns} from ${isArray ? 'json_to_recordset' : 'json_to_record'}($1::text::json) as _(${types})`;
  const into = `insert into ${nameOf(relation)} ${names.length === 0 ? '' : `(${columns})`} ${values}`;
  const text = `
    with s as (${into} returning ${isReturned ? '*' : '1'})
    select null::bigint as total, count(t)::integer as came, ${isReturned ? bodies.rows : `''`} as body from (select * from s) as t`;
  return { text, isReadOnly: false };
}

export function readStatement(
  relation: Relation,
  options: { isCounted: boolean; maxRows: number | null },
): Statement {
  const source = `select * from ${nameOf(relation)} where $1::text is not null`;
  return { text: pageOf(source, 'count(t)', bodies.rows, options), isReadOnly: true };
}

function pageOf(
  source: string,
  came: string,
  body: string,
  { isCounted, maxRows }: { isCounted: boolean; maxRows: number | null },
): string {
  return `
    with s as (${source})${isCounted ? ', n as (select 1 from s)' : ''}
    select ${isCounted ? '(select count(*) from n)' : 'null'}::integer as total, ${came}::integer as came, ${body} as body
    from (select * from s limit ${maxRows ?? 'all'}) as t`;
}

/** The names that all objects of a request have in common; raises where they do not. */
function columnsOf(request: unknown): string[] {
  const rows: unknown[] = Array.isArray(request) ? request : [request];
  const keys = rows.map((row) => Object.keys(row as object).sort());
  const [first = []] = keys;
  if (keys.some((each) => each.join('\0') !== first.join('\0'))) {
    throw new ApiError(400, 'PGRST102', 'All object keys must match');
  }
  return first;
}

function nameOf({ schema, name }: Relation): string {
  return `${ident(schema)}.${ident(name)}`;
}

function ident(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
