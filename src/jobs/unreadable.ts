import { messageOf, ProviderError, RowmillError } from '../errors.ts';

/** A harvest that broke off so often in a row, each time later than before (half an hour in all), is not tried again. */
export const maxTries = 8;

/** What no second download can change. */
const hopeless = new Set(['no_results', 'too_many_lines', 'answers_too_slow']);
const doubtful = new Set(['download_short', 'results_late']);
/** The provider is away, busy, or does not take the key: it says nothing about the file. */
const passing = new Set([401, 403, 408, 409, 429]);

/**
 * Takes why a result file could not be read, and how often in a row its harvest broke off before; returns the reason for
 * giving the file up, or null where it is read again later. A provider that is away is waited for, however long.
 */
export function givenUpFor(error: unknown, triesBefore: number): string | null {
  const isHopeless = error instanceof RowmillError && hopeless.has(error.code);
  return isHopeless || (saysSomethingOfTheFile(error) && triesBefore + 1 >= maxTries)
    ? messageOf(error)
    : null;
}

/** A second download may bring all of a file that was cut short or came too slowly. */
function saysSomethingOfTheFile(error: unknown): boolean {
  if (!(error instanceof ProviderError)) return error instanceof RowmillError && doubtful.has(error.code);
  const { status, isUnusable } = error;
  // Gone files have a rule of their own.
  return (
    isUnusable || (status !== null && status >= 300 && status < 500 && status !== 404 && !passing.has(status))
  );
}
