/**
 * Works through the items, `lanes` at a time, groups taking turns: where there are several groups, none has more than its
 * share of the lanes, so that one which is slow holds up no other. Work that resolves with false sets the rest of its
 * group aside. Takes no new item once the signal is aborted. Rejects with the first failure, but only when what else is
 * in hand has ended.
 */
export async function shareLanes<Item>(
  items: Item[],
  options: {
    lanes: number;
    groupOf: (item: Item) => unknown;
    signal: AbortSignal;
    work: (item: Item) => Promise<boolean>;
  },
): Promise<void> {
  const { lanes, groupOf, signal, work } = options;
  const groups = [...Map.groupBy(items, groupOf).values()].map((rest) => ({ rest, inHand: 0 }));
  // Two at least: one that is waited for does not stop its group.
  const share = Math.max(2, Math.floor(lanes / groups.length));
  const failures: unknown[] = [];
  let freed = Promise.withResolvers<void>();

  const next = () => {
    const at = groups.findIndex(({ rest, inHand }) => rest.length > 0 && inHand < share);
    if (at === -1) return null;
    // To the end of the line.
    const [group] = groups.splice(at, 1);
    groups.push(group!);
    return group!;
  };
  const isWaiting = () => groups.some(({ rest }) => rest.length > 0);

  async function lane(): Promise<void> {
    while (isWaiting() && !signal.aborted && failures.length === 0) {
      const group = next();
      if (group === null) {
        await freed.promise;
        continue;
      }
      const item = group.rest.shift()!;
      group.inHand += 1;
      try {
        if (!(await work(item))) group.rest.length = 0;
      } catch (error) {
        failures.push(error);
      } finally {
        group.inHand -= 1;
        freed.resolve();
        freed = Promise.withResolvers();
      }
    }
  }

  await Promise.all(Array.from({ length: Math.min(lanes, items.length) }, lane));
  if (failures.length > 0) throw failures[0];
}
