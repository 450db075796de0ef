import OpenAI, { toFile } from 'openai';
import { describe, expect, it } from 'vitest';
import { chatLine, jsonl, start, upload } from './harness.ts';

const content = jsonl([chatLine('a', 'one\u2028two\u0085three 👩‍🚀')]);

async function rejection(work: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(OpenAI.APIError);
  return error as InstanceType<typeof OpenAI.APIError>;
}

describe('a file', () => {
  it('comes back byte by byte as it was uploaded, with its length announced', async () => {
    const { openai } = await start();
    const id = await upload(openai, content);
    const response = await openai.files.content(id);
    expect(response.headers.get('content-length')).toBe(String(Buffer.byteLength(content)));
    expect(await response.text()).toBe(content);
  });

  it('is described as OpenAI describes it', async () => {
    const { openai } = await start();
    const id = await upload(openai, content, 'rows.jsonl');
    const file = await openai.files.retrieve(id);
    expect(id).toMatch(/^file-[A-Za-z0-9]{22}$/);
    expect(file).toMatchObject({
      object: 'file',
      filename: 'rows.jsonl',
      purpose: 'batch',
      status: 'processed',
    });
    expect(file).toMatchObject({ bytes: Buffer.byteLength(content), status_details: null });
    expect(file.expires_at).toBe(file.created_at + 2_592_000);
  });

  it('expires when the upload says so', async () => {
    const { openai } = await start();
    const file = await openai.files.create({
      file: await toFile(Buffer.from(content), 'x.jsonl'),
      purpose: 'batch',
      expires_after: { anchor: 'created_at', seconds: 3_600 },
    });
    expect(file.expires_at).toBe(file.created_at + 3_600);
    const refused = await rejection(
      openai.files.create({
        file: await toFile(Buffer.from(content), 'x.jsonl'),
        purpose: 'batch',
        expires_after: { anchor: 'created_at', seconds: 60 },
      }),
    );
    expect(refused).toMatchObject({ status: 400, param: 'expires_after.seconds' });
  });

  it('is refused unless it is a .jsonl with something in it that begins with JSON', async () => {
    const { openai, simulator } = await start();
    const named = await rejection(upload(openai, content, 'rows.csv'));
    expect(named).toMatchObject({ status: 400, type: 'invalid_request_error', code: null, param: null });
    expect(named.message).toContain('Invalid file format for Batch API. Must be .jsonl');
    expect((await rejection(upload(openai, ''))).status).toBe(400);
    expect((await rejection(upload(openai, 'not json\n{}\n'))).status).toBe(400);
    expect(simulator.ledger.filesHeld()).toBe(0);
  });

  it('passes the upload although a line lacks its fields', async () => {
    const { openai } = await start();
    await expect(upload(openai, '{}\nnot json\n')).resolves.toMatch(/^file-/);
  });

  it('is gone for every route once it is deleted', async () => {
    const { openai, simulator } = await start();
    const id = await upload(openai, content);
    expect(await openai.files.delete(id)).toEqual({ id, object: 'file', deleted: true });
    for (const work of [openai.files.retrieve(id), openai.files.content(id), openai.files.delete(id)]) {
      const error = await rejection(work);
      expect(error).toMatchObject({ status: 404, param: 'id', type: 'invalid_request_error' });
      expect(error.message).toContain(`No such File object: ${id}`);
    }
    expect(simulator.ledger.filesHeld()).toBe(0);
  });

  it('is listed newest first, page after page', async () => {
    const { openai } = await start();
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) ids.push(await upload(openai, content));
    const listed: string[] = [];
    for await (const file of openai.files.list({ limit: 2 })) listed.push(file.id);
    expect(listed).toEqual(ids.toReversed());
    const page = await openai.files.list({ limit: 2, order: 'asc', purpose: 'batch' });
    expect(page.data.map(({ id }) => id)).toEqual(ids.slice(0, 2));
    expect(page.has_more).toBe(true);
    expect((await openai.files.list({ purpose: 'batch_output' })).data).toEqual([]);
  });
});
