/**
 * Asks for up to `most` rows, no more than `maxRows` at a time, until fewer come than were asked for. What was claimed
 * before a call failed is returned: it is under the lease, and nobody else would know of it. Rejects where the first fails.
 */
export async function claimInSlices<Row>(
  most: number,
  maxRows: number,
  ask: (rows: number) => Promise<Row[]>,
): Promise<Row[]> {
  const claimed: Row[] = [];
  while (claimed.length < most) {
    const asked = Math.min(most - claimed.length, maxRows);
    try {
      const some = await ask(asked);
      claimed.push(...some);
      if (some.length < asked) break;
    } catch (error) {
      if (claimed.length === 0) throw error;
      break;
    }
  }
  return claimed;
}

/** Works through the items, `maxRows` at a time; resolves with all that came of them. */
export async function giveInSlices<Item, Row>(
  items: Item[],
  maxRows: number,
  ask: (some: Item[]) => Promise<Row[]>,
): Promise<Row[]> {
  if (items.length <= maxRows) return await ask(items);
  const rows: Row[] = [];
  for (let from = 0; from < items.length; from += maxRows) {
    rows.push(...(await ask(items.slice(from, from + maxRows))));
  }
  return rows;
}
