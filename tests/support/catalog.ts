import type postgres from 'postgres';
import { readRooms, supabase } from '../../tools/sql/rooms.ts';

export type CatalogOptions = {
  /** false leaves the columns' places out: what an upgrade adds to a table comes last. */
  withColumnOrder?: boolean;
};

/**
 * Everything in schema rowmill, one entry for each thing and sorted: relations, columns, constraints, indexes, policies,
 * triggers, types, functions, sequences, with their comments and rights, and the rows that the rooms insert. The owner, by
 * whatever name, is "owner". What is generated for a pipeline is left out: they are data.
 */
export async function catalogOf(sql: postgres.ISql, options: CatalogOptions = {}): Promise<string[]> {
  const { withColumnOrder = true } = options;
  const rows = await sql.unsafe<{ line: string }[]>(`${things(withColumnOrder)} order by 1`);
  const lines = rows.map((row) => row.line);
  for (const table of await seededTables()) {
    const seeds = await sql.unsafe<{ line: string }[]>(
      // (a secret is another one in each database)
      `select 'row of ${table} | ' || (to_jsonb(t) - 'applying_secret')::text as line from rowmill.${table} as t order by 1`,
    );
    lines.push(...seeds.map((row) => row.line));
  }
  return lines.sort();
}

/** The tables that have rows before a user has done anything. */
async function seededTables(): Promise<string[]> {
  const tables = (await readRooms(supabase)).flatMap((room) =>
    [...room.text.matchAll(/^insert into rowmill\.(\w+)/gm)].map((match) => match[1]!),
  );
  return [...new Set(tables)].sort();
}

/** Who may do what, by `acl`; what Postgres takes for granted, where it is null, is spelled out. */
function rights(acl: string, owner: string, kind?: 'n' | 'r' | 's' | 'T' | 'f'): string {
  return `(
    select coalesce(string_agg(
      case x.grantee when 0 then 'public' when ${owner} then 'owner' else x.grantee::regrole::text end
        || ': ' || x.privilege_type || case when x.is_grantable then ' with grant option' else '' end,
      ', ' order by x.grantee <> ${owner}, x.grantee::regrole::text, x.privilege_type
    ), 'nobody')
    from aclexplode(${kind === undefined ? acl : `coalesce(${acl}, acldefault('${kind}', ${owner}))`}) as x
  )`;
}

function line(kind: string, name: string, ...parts: string[]): string {
  return `concat_ws(' | ', '${kind} ' || (${name})::text, ${parts.map((part) => `coalesce((${part})::text, '-')`).join(', ')})`;
}

function comment(oid: string, catalog: string): string {
  return `obj_description(${oid}, '${catalog}')`;
}

function things(withColumnOrder: boolean): string {
  const relation = 'c.oid::regclass::text';
  const place = withColumnOrder
    ? 'row_number() over (partition by a.attrelid order by a.attnum)'
    : `'any place'`;
  return [
    `select ${line('schema', 'n.nspname', comment('n.oid', 'pg_namespace'), rights('n.nspacl', 'n.nspowner', 'n'))} as line
    from pg_namespace as n where n.nspname = 'rowmill'`,

    `select ${line('default rights', 'd.defaclobjtype', rights('d.defaclacl', 'd.defaclrole'))}
    from pg_default_acl as d where d.defaclnamespace = 'rowmill'::regnamespace`,

    `select ${line(
      'relation',
      relation,
      'c.relkind',
      'c.relpersistence',
      'c.reloptions',
      `format('row level security: %s, forced: %s', c.relrowsecurity, c.relforcerowsecurity)`,
      comment('c.oid', 'pg_class'),
      rights('c.relacl', 'c.relowner', 'r'),
    )}
    from pg_class as c where c.relnamespace = 'rowmill'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')`,

    `select ${line('view', relation, 'pg_get_viewdef(c.oid)')}
    from pg_class as c where c.relnamespace = 'rowmill'::regnamespace and c.relkind in ('v', 'm')`,

    // of composite types, too
    `select ${line(
      'column',
      `${relation} || '.' || a.attname`,
      place,
      'format_type(a.atttypid, a.atttypmod)',
      'a.attcollation::regcollation',
      `case when a.attnotnull then 'not null' end`,
      `nullif(a.attidentity, '')`,
      `nullif(a.attgenerated, '')`,
      'pg_get_expr(d.adbin, d.adrelid)',
      'col_description(c.oid, a.attnum)',
      rights('a.attacl', 'c.relowner'),
    )}
    from pg_class as c
    join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_attrdef as d on d.adrelid = c.oid and d.adnum = a.attnum
    where c.relnamespace = 'rowmill'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f', 'c')`,

    `select ${line(
      'constraint',
      `coalesce(nullif(o.conrelid, 0)::regclass::text, o.contypid::regtype::text) || '.' || o.conname`,
      'pg_get_constraintdef(o.oid)',
      'o.convalidated',
      comment('o.oid', 'pg_constraint'),
    )}
    from pg_constraint as o where o.connamespace = 'rowmill'::regnamespace`,

    `select ${line('index', 'i.indexrelid::regclass::text', 'pg_get_indexdef(i.indexrelid)', 'i.indisvalid', comment('i.indexrelid', 'pg_class'))}
    from pg_index as i join pg_class as c on c.oid = i.indrelid where c.relnamespace = 'rowmill'::regnamespace`,

    `select ${line(
      'policy',
      `${relation} || '.' || p.polname`,
      'p.polcmd',
      'p.polpermissive',
      `(select string_agg(case r.oid when 0 then 'public' else r.oid::regrole::text end, ', ' order by r.oid) from unnest(p.polroles) as r(oid))`,
      'pg_get_expr(p.polqual, p.polrelid)',
      'pg_get_expr(p.polwithcheck, p.polrelid)',
      comment('p.oid', 'pg_policy'),
    )}
    from pg_policy as p join pg_class as c on c.oid = p.polrelid where c.relnamespace = 'rowmill'::regnamespace`,

    `select ${line('trigger', `${relation} || '.' || t.tgname`, 'pg_get_triggerdef(t.oid)', 't.tgenabled', comment('t.oid', 'pg_trigger'))}
    from pg_trigger as t join pg_class as c on c.oid = t.tgrelid
    where c.relnamespace = 'rowmill'::regnamespace and not t.tgisinternal`,

    // Those of tables and arrays follow from what they are made for.
    `select ${line(
      'type',
      't.oid::regtype::text',
      't.typtype',
      `nullif(t.typbasetype, 0)::regtype`,
      't.typdefault',
      `(select string_agg(e.enumlabel, ', ' order by e.enumsortorder) from pg_enum as e where e.enumtypid = t.oid)`,
      comment('t.oid', 'pg_type'),
      rights('t.typacl', 't.typowner', 'T'),
    )}
    from pg_type as t left join pg_class as c on c.oid = t.typrelid
    where t.typnamespace = 'rowmill'::regnamespace and coalesce(c.relkind, 'c') = 'c' and t.typcategory <> 'A'`,

    `select ${line('function', 'p.oid::regprocedure::text', 'pg_get_functiondef(p.oid)', comment('p.oid', 'pg_proc'), rights('p.proacl', 'p.proowner', 'f'))}
    from pg_proc as p
    where p.pronamespace = 'rowmill'::regnamespace and p.prokind in ('f', 'p') and p.proname !~ '${generated}'`,

    `select ${line(
      'sequence',
      relation,
      `format('%s from %s by %s, %s to %s, cycle %s, cache %s', format_type(s.seqtypid, null), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcycle, s.seqcache)`,
      `(select d.refobjid::regclass || '.' || a.attname || ' ' || d.deptype::text
        from pg_depend as d join pg_attribute as a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
        where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i'))`,
      comment('c.oid', 'pg_class'),
      rights('c.relacl', 'c.relowner', 's'),
    )}
    from pg_sequence as s join pg_class as c on c.oid = s.seqrelid
    where c.relnamespace = 'rowmill'::regnamespace and c.relname !~ '${generated}'`,
  ].join('\nunion all\n');
}

/** The names of the functions and of the sequence that create_pipeline makes, as a regular expression of Postgres and of JavaScript. */
export const generated = String.raw`^(enqueue_inserted|enqueue_edited|lost_keys)_\d+$`;
