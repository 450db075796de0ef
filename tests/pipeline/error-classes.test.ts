import { expect, test } from 'vitest';
import { type ErrorClass, errorClasses } from '../../src/pipeline/error-classes.ts';

const names = Object.keys(errorClasses) as ErrorClass[];
const where = (is: (name: ErrorClass) => boolean) => names.filter(is);

test('only what would fail again, or has no row, is never retried', () => {
  expect(where((name) => !errorClasses[name].retried)).toEqual([
    'refused',
    'content_filter',
    'invalid_request',
    'row_gone',
  ]);
});

test('only what the batch, the row itself or the account overtook keeps its attempts', () => {
  expect(where((name) => !errorClasses[name].counted)).toEqual([
    'batch_expired',
    'batch_cancelled',
    // pauses the pipeline, so that it does not go round
    'quota_exhausted',
    'stale_input',
    'row_gone',
  ]);
});
