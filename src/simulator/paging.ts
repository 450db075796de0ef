import { ApiError, invalidValue } from './errors.ts';

export type Page<T> = {
  object: 'list';
  data: T[];
  first_id: string | null;
  last_id: string | null;
  has_more: boolean;
};

/** One page of a list that is in the order of its pages; an unknown `after` begins nowhere. */
export function pageOf<T extends { id: string }>(
  items: T[],
  after: string | undefined,
  limit: number,
): Page<T> {
  const start = after === undefined ? 0 : items.findIndex((item) => item.id === after) + 1;
  if (after !== undefined && start === 0) {
    throw invalidValue('after', `Invalid 'after': no object found with id '${after}'.`);
  }
  const data = items.slice(start, start + limit);
  return {
    object: 'list',
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: start + limit < items.length,
  };
}

/** Reads a `limit` of the query string. */
export function readLimit(value: string | undefined, usual: number, maximum: number): number {
  if (value === undefined) return usual;
  const limit = Number(value);
  if (value === '' || !Number.isInteger(limit)) {
    throw new ApiError(400, `Invalid type for 'limit': expected an integer, but got '${value}' instead.`, {
      param: 'limit',
      code: 'invalid_type',
    });
  }
  if (limit < 1) throw outOfRange('integer below minimum value', '>= 1', limit, 'integer_below_min_value');
  if (limit > maximum) {
    throw outOfRange('integer above maximum value', `<= ${maximum}`, limit, 'integer_above_max_value');
  }
  return limit;
}

function outOfRange(what: string, bound: string, got: number, code: string): ApiError {
  const message = `Invalid 'limit': ${what}. Expected a value ${bound}, but got ${got} instead.`;
  return new ApiError(400, message, { param: 'limit', code });
}
