import { createHmac, timingSafeEqual } from 'node:crypto';

export type Claims = { role?: string; exp?: number; [name: string]: unknown };
/** As PostgREST words what is wrong with a token. */
export class JwtError extends Error {
  readonly code: 'PGRST301' | 'PGRST303';

  constructor(code: JwtError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

const skewSeconds = 30;

export function signJwt(claims: Claims, secret: string): string {
  const parts = [{ alg: 'HS256', typ: 'JWT' }, claims].map((part) => encode(JSON.stringify(part)));
  return [...parts, signatureOf(parts.join('.'), secret)].join('.');
}

/** The claims of a token that this secret signed and whose time is not over; raises JwtError. */
export function readJwt(token: string, secret: string, nowSeconds = Date.now() / 1000): Claims {
  const parts = token.split('.');
  if (parts.length !== 3) throw new JwtError('PGRST301', `Expected 3 parts in JWT; got ${parts.length}`);
  const [head, body, signature] = parts as [string, string, string];
  if (parse(head).alg !== 'HS256') {
    throw new JwtError('PGRST301', 'Wrong or unsupported encoding algorithm');
  }
  const [given, expected] = [Buffer.from(signature), Buffer.from(signatureOf(`${head}.${body}`, secret))];
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    throw new JwtError('PGRST301', 'No suitable key or wrong key type');
  }
  const claims = parse(body) as Claims;
  if (claims.exp !== undefined && claims.exp < nowSeconds - skewSeconds) {
    throw new JwtError('PGRST303', 'JWT expired');
  }
  return claims;
}

function parse(part: string): Record<string, unknown> {
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString());
  } catch {
    return {};
  }
}

function signatureOf(text: string, secret: string): string {
  return createHmac('sha256', secret).update(text).digest('base64url');
}

function encode(text: string): string {
  return Buffer.from(text).toString('base64url');
}
