/**
 * Errors carry a code for programs and fields for logs; the message is for people. Nothing matches a message.
 */
export type ErrorFields = Record<string, unknown>;

export class RowmillError extends Error {
  override readonly name: string = 'RowmillError';
  readonly code: string;
  readonly fields: ErrorFields;

  /** Takes a code, a message, and optionally what a log should show and what caused it. */
  constructor(code: string, message: string, options: { fields?: ErrorFields; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.fields = options.fields ?? {};
  }
}

/**
 * What a failed call means for whoever thinks of repeating it.
 * - `rejected`: the provider said no for good; the same call would be refused again.
 * - `busy`: certainly not executed; the same call may succeed later.
 * - `ambiguous`: may have been executed; look before repeating anything that costs money.
 */
export type ProviderErrorKind = 'rejected' | 'busy' | 'ambiguous';

export class ProviderError extends RowmillError {
  override readonly name: string = 'ProviderError';
  readonly kind: ProviderErrorKind;
  /** The HTTP status; null where no answer came. */
  readonly status: number | null;
  /** The provider's own code, such as `token_limit_exceeded` or `insufficient_quota`. */
  readonly providerCode: string | null;
  readonly requestId: string | null;
  /** Whether an answer came that cannot be used: too large, too slow, from somewhere else. The next one may be the same. */
  readonly isUnusable: boolean;

  /** The code becomes `provider_<kind>`; status, providerCode and requestId show among the fields as well. */
  constructor(
    message: string,
    options: {
      kind: ProviderErrorKind;
      status?: number | null;
      providerCode?: string | null;
      requestId?: string | null;
      isUnusable?: boolean;
      fields?: ErrorFields;
      cause?: unknown;
    },
  ) {
    const { kind, status = null, providerCode = null, requestId = null } = options;
    super(`provider_${kind}`, message, {
      fields: { ...options.fields, status, providerCode, requestId },
      cause: options.cause,
    });
    this.kind = kind;
    this.status = status;
    this.providerCode = providerCode;
    this.requestId = requestId;
    this.isUnusable = options.isUnusable ?? false;
  }
}

/** What whatever was thrown says of itself: not everything that is thrown is an Error. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

// `database_read_only` and `database_full`: it is reached, and takes no writes.
const awayCodes = new Set(['database_unreachable', 'database_read_only', 'database_full']);

/**
 * Whether the database could not be reached, was lost (what was asked of it may then have been done or not), or takes no
 * writes at present. Nothing is wrong with what was asked: it is asked again later.
 */
export function isDatabaseAway(error: unknown): error is RowmillError {
  return error instanceof RowmillError && awayCodes.has(error.code);
}

/** Whether the database could not be reached, or was lost; one that answers and takes no writes is not. */
export function isDatabaseUnreachable(error: unknown): boolean {
  return error instanceof RowmillError && error.code === 'database_unreachable';
}
