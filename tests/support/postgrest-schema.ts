import type postgres from 'postgres';
import { ApiError } from './postgrest-errors.ts';

export type Argument = { name: string; type: string; is_required: boolean };
export type Routine = {
  schema: string;
  name: string;
  args: Argument[];
  returns: 'void' | 'scalar' | 'scalars' | 'row' | 'rows';
  is_volatile: boolean;
  /** The function's own settings that hold for its whole transaction. */
  settings: Record<string, string>;
};
export type Relation = { schema: string; name: string; columns: Record<string, string> };

export type SchemaCache = {
  /** Raises PGRST202 where none fits the names, PGRST203 where several do. */
  routine(schema: string, name: string, argNames: string[]): Routine;
  /** Raises PGRST205. */
  relation(schema: string, name: string): Relation;
  /** What `alter role … set` says for a role. */
  roleSettings(role: string): Record<string, string>;
};

/** What PostgREST knows of a database until somebody notifies it: whatever its schemas hold, whoever may use it. */
export async function readSchemaCache(sql: postgres.Sql, schemas: string[]): Promise<SchemaCache> {
  const routines = await sql<Routine[]>`
    select n.nspname as schema, p.proname as name, p.provolatile = 'v' as is_volatile,
      coalesce((
        select json_agg(json_build_object('name', a.name, 'type', a.type::regtype::text, 'is_required', a.at <= p.pronargs - p.pronargdefaults) order by a.at)
        from unnest(p.proargnames, p.proargtypes::oid[]) with ordinality as a(name, type, at)
        where a.type is not null
      ), '[]') as args,
      case
        when t.typname = 'void' then 'void'
        when t.typtype = 'c' or coalesce(p.proargmodes::text[] && '{t,b,o}', false)
          then case when p.proretset then 'rows' else 'row' end
        else case when p.proretset then 'scalars' else 'scalar' end
      end as returns,
      coalesce((
        select json_object_agg(split_part(s.text, '=', 1), substr(s.text, strpos(s.text, '=') + 1))
        from unnest(p.proconfig) as s(text)
        where split_part(s.text, '=', 1) in ('statement_timeout', 'default_transaction_isolation')
      ), '{}') as settings
    from pg_proc as p
    join pg_namespace as n on n.oid = p.pronamespace
    join pg_type as t on t.oid = p.prorettype
    where n.nspname = any (${`{${schemas.join(',')}}`}::text[]) and p.prokind = 'f' and t.typname <> 'trigger'`;
  const relations = await sql<Relation[]>`
    select n.nspname as schema, c.relname as name,
      coalesce(json_object_agg(a.attname, format_type(a.atttypid, a.atttypmod)) filter (where a.attname is not null), '{}') as columns
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    left join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where n.nspname = any (${`{${schemas.join(',')}}`}::text[]) and c.relkind in ('r', 'p', 'v', 'm', 'f')
    group by 1, 2`;
  const settings = await sql<{ role: string; settings: Record<string, string> }[]>`
    select r.rolname as role, json_object_agg(split_part(s.text, '=', 1), substr(s.text, strpos(s.text, '=') + 1)) as settings
    from pg_roles as r, unnest(r.rolconfig) as s(text)
    where pg_has_role(current_user, r.oid, 'member')
    and split_part(s.text, '=', 1) in (select g.name from pg_settings as g where g.context = 'user')
    group by 1`;
  return {
    routine(schema, name, argNames) {
      const fitting = routines.filter(
        (each) => each.schema === schema && each.name === name && fits(each.args, argNames),
      );
      const [found, other] = fitting;
      const call = `${schema}.${name}(${argNames.join(', ')})`;
      if (found === undefined) {
        const message = `Could not find the function ${call} in the schema cache`;
        const details = `Searched for the function ${call}, but no matches were found in the schema cache.`;
        throw new ApiError(404, 'PGRST202', message, details);
      }
      if (other !== undefined) {
        throw new ApiError(300, 'PGRST203', `Could not choose the best candidate function between: ${call}`);
      }
      return found;
    },
    relation(schema, name) {
      const found = relations.find((each) => each.schema === schema && each.name === name);
      if (found) return found;
      const message = `Could not find the table '${schema}.${name}' in the schema cache`;
      throw new ApiError(404, 'PGRST205', message);
    },
    roleSettings: (role) => settings.find((each) => each.role === role)?.settings ?? {},
  };
}

/** All that it needs, and nothing that it does not know. */
function fits(args: Argument[], given: string[]): boolean {
  const required = args.filter((arg) => arg.is_required);
  return (
    required.every(({ name }) => given.includes(name)) &&
    given.every((name) => args.some((arg) => arg.name === name))
  );
}
