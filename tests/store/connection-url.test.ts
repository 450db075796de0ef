import { describe, expect, it } from 'vitest';
import { connectionUrl } from '../../src/store/connection-url.ts';

describe('the address of a database', () => {
  it.each([
    ['postgres://u:p@host:5432/db', false],
    ['postgres://u:p@host/db', false],
    ['postgres://u:p@host:6543/db', true],
    ['postgresql://u:p@pooler.example.com:6543/postgres?sslmode=require', true],
    ['postgres://u:p@host:5432/db?sslmode=require', false],
    // A port in a password or a path is none.
    ['postgres://u:6543@host:5432/6543', false],
    ['not a url', false],
  ])('%s goes on unchanged; through a pooler of transactions: %s', (url, isTransactionPooler) => {
    expect(connectionUrl(url)).toEqual({ url, isTransactionPooler });
  });

  it('loses the words that are meant for Prisma, and keeps the others', () => {
    expect(
      connectionUrl('postgres://u:p%40ss@host:6543/db?pgbouncer=true&sslmode=require&connection_limit=1'),
    ).toEqual({
      url: 'postgres://u:p%40ss@host:6543/db?sslmode=require',
      isTransactionPooler: true,
    });
  });

  it('says by pgbouncer=true that prepared statements are out, whatever its port', () => {
    expect(connectionUrl('postgres://u@host:5432/db?pgbouncer=true')).toEqual({
      url: 'postgres://u@host:5432/db',
      isTransactionPooler: true,
    });
    expect(connectionUrl('postgres://u@host:5432/db?pgbouncer=false').isTransactionPooler).toBe(false);
  });
});
