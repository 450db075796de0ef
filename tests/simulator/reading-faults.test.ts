import { describe, expect, it } from 'vitest';
import { chatLine, jsonl, runBatch, startWith, submit, until, upload } from './harness.ts';

// The usual second of a poll is no longer than what is waited for.
const patience = { timeout: 20_000 };
const lines = [chatLine('a', 'x'), chatLine('b', 'y')];

describe('a list that lags', () => {
  it('shows the batches that are struck only once they are old enough', async () => {
    const { openai } = await startWith('list_lags@2;ms=1000');
    const [first, second, third] = [
      await submit(openai, lines),
      await submit(openai, lines),
      await submit(openai, lines),
    ];
    const listed = async () => (await openai.batches.list()).data.map(({ id }) => id);
    expect(await listed()).toEqual([third.id, first.id]);
    expect((await openai.batches.retrieve(second.id)).id).toBe(second.id);
    await expect.poll(listed, patience).toEqual([third.id, second.id, first.id]);
  });

  it('pages through what it shows', async () => {
    const { openai } = await startWith('list_lags@2,4');
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) ids.push((await submit(openai, lines)).id);
    const page = await openai.batches.list({ limit: 2 });
    expect(page.data.map(({ id }) => id)).toEqual([ids[4], ids[2]]);
    expect(await openai.batches.list({ limit: 2, after: ids[2]! })).toMatchObject({
      data: [{ id: ids[0] }],
      has_more: false,
    });
  });
});

describe('retrieving', () => {
  it('does not find a batch at first that is struck', async () => {
    const { openai } = await startWith('not_found_at_first@1;ms=1000');
    const { id } = await submit(openai, lines);
    await expect(openai.batches.retrieve(id)).rejects.toMatchObject({
      status: 404,
      message: expect.stringContaining(`No batch found with id '${id}'.`),
    });
    expect((await openai.batches.list()).data).toHaveLength(1);
    const other = await submit(openai, lines);
    expect((await openai.batches.retrieve(other.id)).id).toBe(other.id);
    await expect.poll(() => openai.batches.retrieve(id).catch(() => null), patience).toMatchObject({ id });
  });

  it('is down for the batch that is struck, from then on and once', async () => {
    const { openai } = await startWith('retrieve_down@2;ms=1000');
    const { id } = await submit(openai, lines);
    const other = await submit(openai, lines);
    await openai.batches.retrieve(id);
    for (let i = 0; i < 3; i++)
      await expect(openai.batches.retrieve(id)).rejects.toMatchObject({ status: 500, type: 'server_error' });
    expect((await openai.batches.retrieve(other.id)).id).toBe(other.id);
    expect((await openai.batches.list()).data).toHaveLength(2);
    await expect.poll(() => openai.batches.retrieve(id).catch(() => null), patience).toMatchObject({ id });
    for (let i = 0; i < 3; i++) await openai.batches.retrieve(id);
  });

  it('is down for each batch once, where the rule always strikes', async () => {
    const { openai } = await startWith('retrieve_down;ms=50');
    for (const batch of [await submit(openai, lines), await submit(openai, lines)]) {
      await expect(openai.batches.retrieve(batch.id)).rejects.toMatchObject({ status: 500 });
      await expect
        .poll(() => openai.batches.retrieve(batch.id).catch(() => null), patience)
        .toMatchObject({ id: batch.id });
      await openai.batches.retrieve(batch.id);
    }
  });

  it('shows empty ids in place of none, wherever the batch is shown', async () => {
    const { openai } = await startWith('empty_ids@1', 'stuck_validating@1');
    const created = await submit(openai, lines);
    const { id } = created;
    const cancelled = await openai.batches.cancel(id);
    const [listed] = (await openai.batches.list()).data;
    for (const batch of [created, cancelled, listed, await openai.batches.retrieve(id)])
      expect(batch).toMatchObject({ id, output_file_id: '', error_file_id: '' });
    const other = await runBatch(openai, lines);
    expect(other).toMatchObject({ output_file_id: expect.stringMatching(/^file-/), error_file_id: null });
  });

  it('shows the ids that there are beside the empty ones', async () => {
    const { openai, simulator } = await startWith('empty_ids');
    const batch = await runBatch(openai, lines);
    expect(batch).toMatchObject({ output_file_id: expect.stringMatching(/^file-/), error_file_id: '' });
    expect(simulator.batches()).toMatchObject([{ error_file_id: null }]);
  });
});

describe('a download that is cut', () => {
  const content = jsonl(Array.from({ length: 5_000 }, (_, i) => chatLine(`c-${i}`, `Row ${i}`)));
  const headers = { authorization: 'Bearer k' };

  /** What arrives, and whether the connection broke after it. */
  async function download(url: string, id: string) {
    const response = await fetch(`${url}/files/${id}/content`, { headers });
    const chunks: Uint8Array[] = [];
    let isBroken = false;
    try {
      for await (const chunk of response.body!) chunks.push(chunk);
    } catch {
      isBroken = true;
    }
    return { isBroken, announced: response.headers.get('content-length'), text: `${Buffer.concat(chunks)}` };
  }

  it('breaks off or ends as if it were whole, by turns; the next one is whole', async () => {
    const { openai, simulator } = await startWith('download_cut@2,3,4');
    const id = await upload(openai, content);
    const whole = { isBroken: false, announced: String(content.length), text: content };
    expect(await download(simulator.url, id)).toEqual(whole);
    for (const isBroken of [true, false, true]) {
      const cut = await download(simulator.url, id);
      expect(cut).toMatchObject({ isBroken, announced: isBroken ? whole.announced : null });
      expect(cut.text.length).toBeLessThan(content.length);
      expect(cut.text.length).toBeGreaterThan(0);
      expect(content.startsWith(cut.text)).toBe(true);
    }
    expect(await download(simulator.url, id)).toEqual(whole);
  });

  it('is what the SDK sees as well', async () => {
    const { openai } = await startWith('download_cut');
    const batch = await until(openai, (await submit(openai, lines)).id);
    await expect((await openai.files.content(batch.output_file_id!)).text()).rejects.toThrow();
    const { bytes } = await openai.files.retrieve(batch.output_file_id!);
    const text = await (await openai.files.content(batch.output_file_id!)).text();
    expect(Buffer.byteLength(text)).toBeLessThan(bytes);
  });
});
