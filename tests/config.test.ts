import { describe, expect, it } from 'vitest';
import { readConfig } from '../src/config.ts';
import { RowmillError } from '../src/errors.ts';

function refusalOf(env: Record<string, string>): RowmillError {
  try {
    readConfig(env);
  } catch (error) {
    expect(error).toBeInstanceOf(RowmillError);
    return error as RowmillError;
  }
  throw new Error('it was accepted');
}

const defaults = {
  HOST: '127.0.0.1',
  PORT: 8787,
  ROWMILL_TICK_CRON: '*/5 * * * * *',
  ROWMILL_POLL_CRON: '*/10 * * * * *',
  LOG_LEVEL: 'info',
};

describe('the configuration', () => {
  it('has a default for everything that needs one', () => {
    expect(readConfig({})).toEqual(defaults);
  });

  it('takes an empty variable for one that is not set', () => {
    const empty = [
      'DATABASE_URL',
      'SUPABASE_URL',
      'SUPABASE_SERVICE_ROLE_KEY',
      'OPENAI_API_KEY',
      'OPENAI_BASE_URL',
      'OPENAI_WEBHOOK_SECRET',
      'ROWMILL_SIMULATOR_URL',
      'ROWMILL_INGEST_SECRET',
      ...Object.keys(defaults),
    ];
    expect(readConfig(Object.fromEntries(empty.map((name) => [name, ''])))).toEqual(defaults);
    expect(readConfig({ PORT: undefined })).toEqual(defaults);
  });

  it('ignores whatever else is in the environment', () => {
    expect(readConfig({ PATH: '/bin', ROWMILL_SOMETHING: 'else' })).toEqual(defaults);
  });

  it.each([
    ['DATABASE_URL', 'postgres://user:p%40ss@db.example.com:6543/postgres?sslmode=require'],
    ['DATABASE_URL', 'postgresql://user@localhost/db'],
    ['OPENAI_API_KEY', 'sk-anything'],
    ['OPENAI_BASE_URL', 'http://127.0.0.1:9000/v1'],
    ['OPENAI_WEBHOOK_SECRET', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw='],
    ['ROWMILL_INGEST_SECRET', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
    ['ROWMILL_SIMULATOR_URL', 'http://simulator:8788/v1'],
    ['HOST', '0.0.0.0'],
    ['ROWMILL_TICK_CRON', '* * * * *'],
    ['ROWMILL_POLL_CRON', '*/30 * * * * *'],
    ['LOG_LEVEL', 'debug'],
  ])('takes %s as %s', (name, value) => {
    expect(readConfig({ [name]: value })).toEqual({ ...defaults, [name]: value });
  });

  it.each(['0', '1', '65535'])('takes PORT %s as a number', (port) => {
    expect(readConfig({ PORT: port }).PORT).toBe(Number(port));
  });

  it.each([
    ['DATABASE_URL', 'mysql://user:secret-word@host/db', 'postgres://'],
    ['DATABASE_URL', 'secret-word', 'postgres://'],
    ['OPENAI_BASE_URL', 'ftp://secret-word', 'URL'],
    ['OPENAI_BASE_URL', 'secret-word', 'URL'],
    ['OPENAI_WEBHOOK_SECRET', 'secret-word', 'at OpenAI'],
    ['ROWMILL_INGEST_SECRET', 'secret-word', 'set_endpoint()'],
    ['ROWMILL_INGEST_SECRET', 'whsec_', 'whsec_'],
    ['ROWMILL_INGEST_SECRET', 'whsec_secret-word!', 'whsec_'],
    ['ROWMILL_SIMULATOR_URL', 'secret-word', 'URL'],
    ['PORT', 'secret-word', 'number'],
    ['PORT', '65536', '65535'],
    ['PORT', '-1', '0'],
    ['PORT', '80.5', 'int'],
    ['ROWMILL_TICK_CRON', 'secret-word', 'cron expression'],
    ['ROWMILL_TICK_CRON', '* * * *', 'cron expression'],
    ['ROWMILL_TICK_CRON', '99 * * * *', 'cron expression'],
    ['ROWMILL_POLL_CRON', 'secret-word a b c d', 'cron expression'],
    ['ROWMILL_POLL_CRON', '* * * * * * *', 'cron expression'],
    ['LOG_LEVEL', 'secret-word', 'info'],
  ])('refuses %s %s, names it, says what is expected, and shows no value', (name, value, expected) => {
    const error = refusalOf({ [name]: value });
    expect(error.code).toBe('config_invalid');
    expect(error.message).toContain(`${name}: `);
    expect(error.message).toContain(expected);
    expect(error.message).not.toContain('secret-word');
    expect(JSON.stringify(error.fields)).not.toContain('secret-word');
    expect(error.fields.problems).toHaveLength(1);
  });

  const project = 'https://abcdefgh.supabase.co';
  const token = (role: string) => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    return `${part({ alg: 'HS256' })}.${part({ role, iss: 'supabase' })}.secret-word`;
  };

  it.each([
    token('service_role'),
    // A role of the operator's own.
    token('rowmill_worker'),
    'sb_secret_anything',
    'not.a.token',
  ])('takes a Supabase project with a key that may work there', (key) => {
    const pair = { SUPABASE_URL: project, SUPABASE_SERVICE_ROLE_KEY: key };
    expect(readConfig(pair)).toEqual({ ...defaults, ...pair });
    const DATABASE_URL = 'postgres://user@localhost/db';
    expect(readConfig({ ...pair, DATABASE_URL })).toEqual({ ...defaults, ...pair, DATABASE_URL });
  });

  it('takes a key from a file with its line break, and none that a header cannot hold', () => {
    const key = (text: string) => ({ SUPABASE_URL: project, SUPABASE_SERVICE_ROLE_KEY: text });
    expect(readConfig(key('sb_secret_anything\n'))).toMatchObject(key('sb_secret_anything'));
    for (const text of ['secret-word two', 'secret-word\nx', 'secret-wörd']) {
      const error = refusalOf(key(text));
      expect(error.message).toMatch(/SUPABASE_SERVICE_ROLE_KEY: expected one word/);
      expect(error.message).not.toContain('secret-w');
    }
  });

  it.each([token('anon'), token('authenticated'), 'sb_publishable_secret-word'])(
    'refuses the key that every visitor of a site has, and does not show it',
    (key) => {
      const error = refusalOf({ SUPABASE_URL: project, SUPABASE_SERVICE_ROLE_KEY: key });
      expect(error.message).toMatch(/SUPABASE_SERVICE_ROLE_KEY: expected the service_role or secret key/);
      expect(error.message).not.toContain(key);
      expect(error.message).not.toContain('secret-word');
    },
  );

  it.each(['ftp://secret-word', 'secret-word', 'postgres://secret-word@host/db'])(
    'refuses SUPABASE_URL %s',
    (url) => {
      const error = refusalOf({ SUPABASE_URL: url, SUPABASE_SERVICE_ROLE_KEY: 'sb_secret_x' });
      expect(error.message).toMatch(/SUPABASE_URL: expected the address of the project/);
      expect(error.message).not.toContain('secret-word');
    },
  );

  it('names what is missing of a Supabase project, unless there is DATABASE_URL', () => {
    const key = { SUPABASE_SERVICE_ROLE_KEY: 'sb_secret_word' };
    const url = { SUPABASE_URL: project };
    expect(refusalOf(url)).toMatchObject({
      code: 'config_invalid',
      fields: {
        problems: [
          'SUPABASE_SERVICE_ROLE_KEY: expected it beside SUPABASE_URL, or DATABASE_URL instead of both',
        ],
      },
    });
    expect(refusalOf(key)).toMatchObject({
      fields: {
        problems: [
          'SUPABASE_URL: expected it beside SUPABASE_SERVICE_ROLE_KEY, or DATABASE_URL instead of both',
        ],
      },
    });
    const DATABASE_URL = 'postgres://user@localhost/db';
    for (const half of [key, url]) expect(readConfig({ ...half, DATABASE_URL })).toMatchObject(half);
  });

  it('names every variable that does not fit, each in a line', () => {
    const { message } = refusalOf({ PORT: 'x', LOG_LEVEL: 'y', DATABASE_URL: 'z' });
    expect(message.split('\n')).toHaveLength(4);
    for (const name of ['PORT', 'LOG_LEVEL', 'DATABASE_URL']) expect(message).toContain(`\n  ${name}: `);
  });
});
