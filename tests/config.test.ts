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
      'OPENAI_API_KEY',
      'OPENAI_BASE_URL',
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
    ['ROWMILL_INGEST_SECRET', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
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
    ['ROWMILL_INGEST_SECRET', 'secret-word', 'whsec_'],
    ['ROWMILL_INGEST_SECRET', 'whsec_', 'whsec_'],
    ['ROWMILL_INGEST_SECRET', 'whsec_secret-word!', 'whsec_'],
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

  it('names every variable that does not fit, each in a line', () => {
    const { message } = refusalOf({ PORT: 'x', LOG_LEVEL: 'y', DATABASE_URL: 'z' });
    expect(message.split('\n')).toHaveLength(4);
    for (const name of ['PORT', 'LOG_LEVEL', 'DATABASE_URL']) expect(message).toContain(`\n  ${name}: `);
  });
});
