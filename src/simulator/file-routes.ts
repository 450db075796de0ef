import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { BatchObject } from './batch-object.ts';
import { readExpiry, unsupported } from './create-params.ts';
import { ApiError, invalidValue, missingParameter } from './errors.ts';
import type { Faults } from './faults.ts';
import type { FileDraft, FileObject, FileStore } from './file-store.ts';
import { beforeEffect, sendInstead } from './http-faults.ts';
import { readLines } from './lines.ts';
import { pageOf, readLimit } from './paging.ts';
import { isJsonObject } from './request.ts';

const maximumBytes = 512 * 1024 * 1024;
type ById = { Params: { id: string } };
export type FileRoutesDeps = { files: FileStore; faults: Faults; batches: Map<string, BatchObject> };
type List = { Querystring: { purpose?: string; limit?: string; order?: string; after?: string } };

/** The routes below /v1/files. */
export function registerFileRoutes(app: FastifyInstance, { files, faults, batches }: FileRoutesDeps): void {
  // Of a result file, by the name that it was given.
  const batchOf = ({ filename, purpose }: FileObject) =>
    purpose === 'batch_output' ? batches.get(filename.replace(/_(output|error)\.jsonl$/, '')) : undefined;
  const show = (file: FileObject) => {
    const batch = faults.fileShown && batchOf(file);
    return batch ? faults.fileShown!(batch, file) : file;
  };

  app.post('/v1/files', (request, reply) => upload(request, reply, files, faults));

  app.get<List>('/v1/files', ({ query }) => {
    const { purpose, limit, order = 'desc', after } = query;
    if (order !== 'asc' && order !== 'desc') throw unsupported('order', order, ['asc', 'desc']);
    const found = files.all().filter((file) => purpose === undefined || file.purpose === purpose);
    if (order === 'desc') found.reverse();
    const proper = () => {
      const page = pageOf(found, after, readLimit(limit, 10_000, 10_000));
      return { ...page, data: page.data.map(show) };
    };
    return faults.listed ? faults.listed('list_files', after, proper) : proper();
  });

  app.get<ById>('/v1/files/:id', ({ params }) => show(files.get(params.id)));

  app.get<ById>('/v1/files/:id/content', ({ params }, reply) => {
    const file = files.get(params.id);
    const batch = batchOf(file);
    const open = () => createReadStream(files.pathOf(file.id), { highWaterMark: 262_144 });
    const instead = batch && faults.delivered?.(batch, open);
    if (instead) return sendInstead(reply, instead);
    const stream = open();
    const name = encodeURIComponent(file.filename);
    const sent = faults.content?.(file, stream, batch) ?? stream;
    const { bytes, isLengthAnnounced } =
      sent instanceof Readable ? { bytes: sent, isLengthAnnounced: true } : sent;
    reply.type('application/octet-stream');
    reply.header('content-disposition', `attachment; filename="${name}"`);
    if (isLengthAnnounced) reply.header('content-length', file.bytes);
    return reply.send(bytes);
  });

  app.delete<ById>('/v1/files/:id', async ({ params }) => {
    await files.delete(params.id);
    return { id: params.id, object: 'file', deleted: true };
  });
}

async function upload(
  request: FastifyRequest,
  reply: FastifyReply,
  files: FileStore,
  faults: Faults,
): Promise<FileObject | FastifyReply> {
  if (!request.isMultipart()) throw missingParameter('file');
  const fields = new Map<string, unknown>();
  let draft: FileDraft | null = null;
  let filename = '';
  let isKept = false;
  try {
    // Fields may stand before the file or after it, so nothing is judged before all is there.
    for await (const part of request.parts({ limits: { fileSize: maximumBytes } })) {
      if (part.type === 'field') {
        fields.set(part.fieldname, part.value);
      } else if (part.fieldname !== 'file' || draft) {
        part.file.resume();
      } else {
        draft = await files.draft();
        filename = part.filename;
        for await (const chunk of part.file) await draft.write(chunk as Buffer);
        if (part.file.truncated) throw tooLarge();
      }
    }
    if (!draft) throw missingParameter('file');
    const purpose = fields.get('purpose');
    if (purpose === undefined) throw missingParameter('purpose');
    if (purpose !== 'batch') throw unsupported('purpose', purpose, ['batch']);
    const expiresAfterSeconds = readExpiry('expires_after', expiryOf(fields));
    const first = await checkContent(draft, filename);
    const instead = isJsonObject(first) ? sendInstead(reply, faults.uploaded?.(first)) : null;
    if (instead) return instead;
    await beforeEffect(request);
    isKept = true;
    return await draft.keep({ filename, purpose, expiresAfterSeconds });
  } finally {
    if (!isKept) await draft?.discard();
  }
}

// A form has no nested values: the SDK sends expires_after[anchor] and expires_after[seconds].
function expiryOf(fields: Map<string, unknown>): unknown {
  const anchor = fields.get('expires_after[anchor]');
  const seconds = fields.get('expires_after[seconds]');
  return anchor === undefined && seconds === undefined ? undefined : { anchor, seconds };
}

/** What is refused at once, or the first line; the rest is looked at when a batch is made of the file. */
async function checkContent(draft: FileDraft, filename: string): Promise<unknown> {
  if (!filename.endsWith('.jsonl')) {
    throw new ApiError(400, 'Invalid file format for Batch API. Must be .jsonl');
  }
  if (draft.bytes === 0) throw invalidValue('file', 'Invalid file: the file is empty.');
  const handle = await open(draft.path);
  try {
    for await (const [line = ''] of readLines(handle)) return JSON.parse(line);
    return undefined;
  } catch {
    const message = 'Invalid file format for Batch API. The first line is not parseable as valid JSON.';
    throw invalidValue('file', message);
  } finally {
    await handle.close();
  }
}

function tooLarge(): ApiError {
  return new ApiError(413, `The file is larger than the maximum of ${maximumBytes} bytes.`, {
    param: 'file',
  });
}
