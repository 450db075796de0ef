import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text as readText } from 'node:stream/consumers';
import postgres from 'postgres';
import { type Claims, readJwt, signJwt } from './jwt.ts';
import { ApiError, toApiError } from './postgrest-errors.ts';
import { readSchemaCache, type SchemaCache } from './postgrest-schema.ts';
import {
  callStatement,
  insertStatement,
  type Page,
  readStatement,
  type Statement,
} from './postgrest-statements.ts';
import { authenticator } from './supabase-roles.ts';

export type PostgrestOptions = {
  /** Any address of the database; who connects is the authenticator. */
  databaseUrl: string;
  exposed?: string[];
  /** "Max rows": longer answers are cut. */
  maxRows?: number | null;
  port?: number;
  jwtSecret?: string;
};

export type Postgrest = {
  /** As SUPABASE_URL: the API is under /rest/v1. */
  url: string;
  jwtSecret: string;
  serviceKey: string;
  anonKey: string;
  /** A key in the newer form, which is no token. */
  secretKey: string;
  keyFor(role: string, claims?: Claims): string;
  /** Names of the functions and relations that were asked for, in their order. */
  requests: string[];
  /** What it answers instead of doing as it is told; `lose` does it, and breaks off the answer. */
  interfere: ((name: string) => 'lose' | 'drop' | { status: number; body: string } | undefined) | null;
  exposed: string[];
  maxRows: number | null;
  close(): Promise<void>;
};

/**
 * Stands in for Supabase's Data API, which is PostgREST behind a gateway: calls by POST, inserts, and plain reads of
 * a relation, as the role of the token. It sees what is new in a database after `notify pgrst`, as PostgREST does.
 */
export async function startPostgrest(options: PostgrestOptions): Promise<Postgrest> {
  const jwtSecret = options.jwtSecret ?? randomBytes(32).toString('hex');
  const keyFor = (role: string, claims: Claims = {}) =>
    signJwt({ role, iss: 'supabase', ...claims }, jwtSecret);
  const url = new URL(options.databaseUrl);
  url.username = authenticator.user;
  url.password = authenticator.password;
  const connect = () =>
    postgres(url.href, { max: 10, onnotice: () => undefined, fetch_types: false, connect_timeout: 5 });
  let sql = connect();
  let cache: Promise<SchemaCache> | null = null;
  let cachedFor = '';
  let listening: Promise<unknown> | null = null;

  const self: Postgrest = {
    url: '',
    jwtSecret,
    serviceKey: keyFor('service_role'),
    anonKey: keyFor('anon'),
    secretKey: `sb_secret_${randomBytes(16).toString('hex')}`,
    keyFor,
    requests: [],
    interfere: null,
    exposed: options.exposed ?? ['public', 'rowmill'],
    maxRows: options.maxRows === undefined ? 1000 : options.maxRows,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await sql.end({ timeout: 5 });
    },
  };

  const server = createServer((request, response) => {
    void answer(request, response).catch(() => request.socket.destroy());
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readText(request);
    const path = new URL(request.url!, 'http://localhost').pathname;
    const name = path.split('/').at(-1)!;
    self.requests.push(name);
    const interference = self.interfere?.(name);
    if (interference === 'drop') return void request.socket.destroy();
    if (typeof interference === 'object') {
      response.writeHead(interference.status).end(interference.body);
      return;
    }
    let role = 'anon';
    try {
      const claims = claimsOf(request);
      role = claims.role ?? 'anon';
      const { status, headers, text } = await perform(request, path, name, body, { ...claims, role });
      if (interference === 'lose') return void request.socket.destroy();
      response.writeHead(status, headers).end(text);
    } catch (error) {
      const { status, body: told } = toApiError(error, role);
      // A client of postgres.js that lost a connection may hang ever after.
      if (status === 503) reconnect();
      response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' });
      response.end(JSON.stringify(told));
    }
  }

  function claimsOf(request: IncomingMessage): Claims {
    const key = request.headers.apikey;
    if (key === undefined) {
      throw new ApiError(
        401,
        '',
        'No API key found in request',
        null,
        'No `apikey` request header was found.',
      );
    }
    const token = /^Bearer (.*)$/.exec(request.headers.authorization ?? '')?.[1];
    if (token === undefined) return {};
    // The gateway puts a token in the place of its own keys.
    return readJwt(token === self.secretKey ? self.serviceKey : token, jwtSecret);
  }

  async function perform(
    request: IncomingMessage,
    path: string,
    name: string,
    body: string,
    claims: Claims & { role: string },
  ) {
    const isRead = request.method === 'GET';
    const profile = request.headers[isRead ? 'accept-profile' : 'content-profile'];
    const schema = String(profile ?? self.exposed[0]);
    if (!self.exposed.includes(schema)) {
      const hint = `Only the following schemas are exposed: ${self.exposed.join(', ')}`;
      throw new ApiError(406, 'PGRST106', `Invalid schema: ${schema}`, null, hint);
    }
    const prefer = String(request.headers.prefer ?? '');
    const options = { isCounted: prefer.includes('count=exact'), maxRows: self.maxRows };
    const known = await schemaCache();
    if (/^\/rest\/v1\/rpc\/\w+$/.test(path) && request.method === 'POST') {
      const given = Object.keys(parseBody(body || '{}') as object);
      const routine = known.routine(schema, name, given);
      const statement = callStatement(routine, given, options);
      const page = await run(statement, body, schema, path, claims, known, routine.settings);
      if (routine.returns === 'void') return { status: 204, headers: rangeOf(page), text: '' };
      return { status: statusOf(page), headers: { ...rangeOf(page), ...json }, text: page.body };
    }
    if (/^\/rest\/v1\/\w+$/.test(path) && (isRead || request.method === 'POST')) {
      const relation = known.relation(schema, name);
      const isReturned = prefer.includes('return=representation');
      const statement = isRead
        ? readStatement(relation, options)
        : insertStatement(relation, parseBody(body), isReturned);
      const page = await run(statement, body, schema, path, claims, known);
      if (isRead) return { status: statusOf(page), headers: { ...rangeOf(page), ...json }, text: page.body };
      return { status: 201, headers: isReturned ? json : {}, text: page.body };
    }
    throw new ApiError(404, 'PGRST125', 'Invalid path specified in request URL');
  }

  /** One transaction, under the role and with what else holds for it. */
  async function run(
    statement: Statement,
    body: string,
    schema: string,
    path: string,
    claims: Claims & { role: string },
    known: SchemaCache,
    settings: Record<string, string> = {},
  ): Promise<Page> {
    const variables: [string, string][] = [
      ['search_path', `"${schema}", "public"`],
      ...Object.entries(known.roleSettings(claims.role)),
      ['transaction_read_only', statement.isReadOnly ? 'on' : 'off'],
      ['role', claims.role],
      ['request.jwt.claims', JSON.stringify(claims)],
      ['request.path', path],
      ...Object.entries(settings),
    ];
    const calls = variables.map(([name, value]) => `set_config(${literal(name)}, ${literal(value)}, true)`);
    // One message, and so one transaction: postgres.js takes the process along where a connection dies in a `begin` of its
    // own. What is local ends with it.
    const text = `select ${calls.join(', ')}; ${statement.text.replaceAll('$1', () => literal(body))}`;
    const results = await sql.unsafe(text).simple();
    return (results as unknown as Page[][])[1]![0]!;
  }

  async function schemaCache(): Promise<SchemaCache> {
    const client = sql;
    listening ??= client.listen('pgrst', () => {
      cache = null;
    });
    await listening;
    const exposed = self.exposed.join();
    if (cachedFor !== exposed) cache = null;
    cachedFor = exposed;
    cache ??= readSchemaCache(client, self.exposed);
    return await cache;
  }

  function reconnect(): void {
    const lost = sql;
    sql = connect();
    cache = null;
    listening = null;
    lost.end({ timeout: 1 }).catch(() => undefined);
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  self.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return self;
}

const json = { 'content-type': 'application/json; charset=utf-8' };

const halfPair = /\\u[dD][89a-fA-F]/;

function parseBody(body: string): unknown {
  const refuseHalves = (_key: string, value: unknown) => {
    if (typeof value === 'string' && !value.isWellFormed()) throw new SyntaxError('half a surrogate pair');
    return value;
  };
  try {
    // PostgREST's parser takes no half of a surrogate pair.
    const request: unknown = JSON.parse(body, halfPair.test(body) ? refuseHalves : undefined);
    if (typeof request === 'object' && request !== null) return request;
  } catch {}
  throw new ApiError(400, 'PGRST102', 'Empty or invalid json');
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

function rangeOf({ came, total }: Page): Record<string, string> {
  const range = came === 0 || total === 0 ? '*' : `0-${came - 1}`;
  return { 'content-range': `${range}/${total ?? '*'}` };
}

function statusOf({ came, total }: Page): number {
  return total !== null && came < total ? 206 : 200;
}
