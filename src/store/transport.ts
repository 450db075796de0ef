/** `read_only`: it is set so (`default_transaction_read_only`). */
export type Writability = 'writable' | 'read_only' | 'standby';

/** A way to call Rowmill's SQL functions. Every value that goes in or comes out is plain JSON. */
export type Transport = {
  /** The most rows that one answer brings. Whoever asks for more asks several times: see `in-slices.ts`. */
  readonly maxRows: number;
  /** Calls `rowmill.<name>` with named arguments; resolves with its rows. */
  rows<Row>(name: string, args: Record<string, unknown>): Promise<Row[]>;
  /** The same for a function that returns one value; null where it returns none. */
  value<Value>(name: string, args: Record<string, unknown>): Promise<Value>;
  /** Versions of migrations that the database lacks. Rejects where it cannot be reached. */
  missingMigrations(): Promise<string[]>;
  /** Whether it takes writes at present; null where this way does not tell. */
  writability(): Promise<Writability | null>;
  /** What the database stores texts in; null where this way does not tell. */
  databaseEncoding(): Promise<string | null>;
  /** Lets calls in hand finish, for `timeoutMs` at the most. */
  close(timeoutMs: number): Promise<void>;
};
