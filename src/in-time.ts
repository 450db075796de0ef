/**
 * Resolves as `asked` does, or rejects with what `late` makes after `ms`. What comes later is dropped: nobody cancels it.
 */
export async function inTime<Value>(asked: Promise<Value>, ms: number, late: () => Error): Promise<Value> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(late()), ms);
  asked.catch(() => {});
  try {
    return await Promise.race([asked, promise]);
  } finally {
    clearTimeout(timer);
  }
}
