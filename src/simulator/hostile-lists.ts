import type { BatchFates } from './batch-fates.ts';
import type { Faults } from './faults.ts';
import { unixSeconds } from './ids.ts';
import { firstStrike, type Occasions } from './occasions.ts';
import type { Page } from './paging.ts';

type Route = 'list' | 'list_files';
type Entry = { id: string } & Record<string, unknown>;

const pageEntries = 100;

/** Lists that never end, and lists with entries that are none. */
export function hostileLists(counted: Occasions[], fates: BatchFates): Faults {
  const rules = counted.filter(({ rule }) => rule.fault === 'list_endless' || rule.fault === 'list_broken');
  if (rules.length === 0) return {};
  let invented = 0;
  return {
    listed(route, after, page) {
      if (after?.startsWith(inventedId(route))) return endlessPage(route, () => invented++);
      // What a list is like is decided where it begins.
      if (after !== undefined) return page();
      const struck = firstStrike(rules.filter(({ rule }) => isAbout(rule, route, fates)));
      if (struck === null) return page();
      return struck.rule.fault === 'list_endless' ? endlessPage(route, () => invented++) : withBroken(page());
    },
  };
}

function isAbout({ route, pipeline }: Occasions['rule'], asked: Route, fates: BatchFates): boolean {
  return (route ?? asked) === asked && (pipeline === undefined || fates.hasSeen(pipeline));
}

function inventedId(route: Route): string {
  return route === 'list' ? 'batch_endless' : 'file-endless';
}

function endlessPage(route: Route, next: () => number): Page<Entry> {
  const data = Array.from({ length: pageEntries }, () => {
    const id = `${inventedId(route)}${next()}`;
    return route === 'list' ? inventedBatch(id) : inventedFile(id);
  });
  return { object: 'list', data, first_id: data[0]!.id, last_id: data.at(-1)!.id, has_more: true };
}

function inventedBatch(id: string): Entry {
  const counts = { total: 1, completed: 0, failed: 0 };
  const metadata = { rowmill_key: id, rowmill_batch: '1', rowmill_pipeline: 'endless' };
  return {
    id,
    object: 'batch',
    status: 'in_progress',
    created_at: unixSeconds(),
    request_counts: counts,
    metadata,
  };
}

function inventedFile(id: string): Entry {
  return {
    id,
    object: 'file',
    bytes: 1,
    created_at: unixSeconds(),
    filename: `${id}.jsonl`,
    purpose: 'batch',
  };
}

function withBroken(page: Page<{ id: string }>) {
  const noText = { toString: 1, valueOf: 1 };
  const broken = [
    null,
    7,
    'batch',
    [],
    { id: 7, status: 'completed', metadata: null },
    { id: noText, status: noText, created_at: noText },
    {
      id: 'batch_broken1',
      status: 'in_progress',
      created_at: 1e300,
      metadata: { rowmill_key: noText, other: noText },
    },
    { id: 'batch_broken2', status: 'in_progress', created_at: -1e300, metadata: 'none', filename: noText },
    {
      id: `batch_${'x'.repeat(6_000)}`,
      status: 'in_progress',
      created_at: 'now',
      metadata: [noText],
      filename: 7,
    },
  ];
  return { ...page, data: [...broken, ...page.data, null] };
}
