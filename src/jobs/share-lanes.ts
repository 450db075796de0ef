import { setTimeout as wait } from 'node:timers/promises';

const pauseMs = 1000;

export type SharedLanes<Item> = {
  lanes: number;
  groupOf: (item: Item) => unknown;
  signal: AbortSignal;
  work: (item: Item) => Promise<boolean>;
  /** How long a lane rests after an item that took so long; without it not at all. */
  restMs?: (tookMs: number) => number;
  /** What came meanwhile; asked each second for as long as only slow items are left. Without it, nothing does. */
  more?: () => Promise<Item[]>;
};

/**
 * Works through the items, `lanes` at a time, groups taking turns: where there are several groups, none has more than its
 * share of the lanes, so that one which is slow holds up no other. Work that resolves with false sets the rest of its
 * group aside, and what comes of it later. Takes no new item once the signal is aborted. Rejects with the first failure, but
 * only when what else is in hand has ended.
 */
export async function shareLanes<Item>(items: Item[], options: SharedLanes<Item>): Promise<void> {
  const { lanes, groupOf, signal, work, restMs = () => 0, more } = options;
  type Group = { key: unknown; rest: Item[]; inHand: number; isAside: boolean };
  const groups: Group[] = [];
  const failures: unknown[] = [];
  let inHand = 0;
  let freed = Promise.withResolvers<void>();
  let asking: Promise<void> | null = null;
  let pause = new AbortController();

  const add = (some: Item[]) => {
    for (const [key, rest] of Map.groupBy(some, groupOf)) {
      const known = groups.find((group) => group.key === key);
      if (known === undefined) groups.push({ key, rest, inHand: 0, isAside: false });
      else if (!known.isAside) known.rest.push(...rest);
    }
  };
  const next = () => {
    // Two at least: one that is waited for does not stop its group. What comes later may be of another group.
    const most = more === undefined ? lanes : lanes - 2;
    const share = Math.max(2, Math.min(most, Math.floor(lanes / groups.length)));
    const at = groups.findIndex((group) => group.rest.length > 0 && group.inHand < share);
    if (at === -1) return null;
    // To the end of the line.
    const [group] = groups.splice(at, 1);
    groups.push(group!);
    return group!;
  };
  const isWaiting = () => groups.some(({ rest }) => rest.length > 0);

  async function ask(more: () => Promise<Item[]>): Promise<void> {
    pause = new AbortController();
    await wait(pauseMs, undefined, { signal: AbortSignal.any([signal, pause.signal]) }).catch(() => {});
    if (inHand === 0 || signal.aborted) return;
    try {
      add(await more());
    } catch (error) {
      failures.push(error);
    }
  }

  async function take(group: Group): Promise<void> {
    const item = group.rest.shift()!;
    group.inHand += 1;
    inHand += 1;
    try {
      const beganAt = performance.now();
      if (!(await work(item))) {
        group.isAside = true;
        group.rest.length = 0;
      }
      const rest = restMs(performance.now() - beganAt);
      if (rest > 0) await wait(rest, undefined, { signal }).catch(() => {});
    } catch (error) {
      failures.push(error);
    } finally {
      group.inHand -= 1;
      inHand -= 1;
      if (inHand === 0) pause.abort();
      freed.resolve();
      freed = Promise.withResolvers();
    }
  }

  async function lane(): Promise<void> {
    while (!signal.aborted && failures.length === 0) {
      const group = next();
      if (group !== null) await take(group);
      else if (inHand === 0) {
        if (asking === null) return;
        await asking;
      } else if (more !== undefined) {
        asking ??= ask(more).finally(() => {
          asking = null;
        });
        await Promise.race([asking, freed.promise]);
      } else if (isWaiting()) await freed.promise;
      else return;
    }
  }

  add(items);
  const count = more === undefined ? Math.min(lanes, items.length) : lanes;
  await Promise.all(Array.from({ length: count }, lane));
  if (failures.length > 0) throw failures[0];
}
