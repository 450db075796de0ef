import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { crashPoints } from '../../src/crash-points.ts';

it('docs/failures.md says of every crash point what closes its window', async () => {
  const text = await readFile(new URL('../../docs/failures.md', import.meta.url), 'utf8');
  const documented = [...text.matchAll(/^\| `(\w+)` \| [^|]+ \| [^|]+ \|$/gm)].map((match) => match[1]);
  expect(documented).toEqual([...crashPoints]);
});
