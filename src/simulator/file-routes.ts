import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { readExpiry, unsupported } from './create-params.ts';
import { ApiError, invalidValue, missingParameter } from './errors.ts';
import type { Faults } from './faults.ts';
import type { FileDraft, FileObject, FileStore } from './file-store.ts';
import { beforeEffect } from './http-faults.ts';
import { readLines } from './lines.ts';
import { pageOf, readLimit } from './paging.ts';

const maximumBytes = 512 * 1024 * 1024;
type ById = { Params: { id: string } };
type List = { Querystring: { purpose?: string; limit?: string; order?: string; after?: string } };

/** The routes below /v1/files. */
export function registerFileRoutes(app: FastifyInstance, files: FileStore, faults: Faults): void {
  app.post('/v1/files', (request) => upload(request, files));

  app.get<List>('/v1/files', ({ query }) => {
    const { purpose, limit, order = 'desc', after } = query;
    if (order !== 'asc' && order !== 'desc') throw unsupported('order', order, ['asc', 'desc']);
    const found = files.all().filter((file) => purpose === undefined || file.purpose === purpose);
    if (order === 'desc') found.reverse();
    return pageOf(found, after, readLimit(limit, 10_000, 10_000));
  });

  app.get<ById>('/v1/files/:id', ({ params }) => files.get(params.id));

  app.get<ById>('/v1/files/:id/content', ({ params }, reply) => {
    const file = files.get(params.id);
    const stream = createReadStream(files.pathOf(file.id), { highWaterMark: 262_144 });
    const name = encodeURIComponent(file.filename);
    const sent = faults.content?.(file, stream) ?? stream;
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

async function upload(request: FastifyRequest, files: FileStore): Promise<FileObject> {
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
    await checkContent(draft, filename);
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

/** What is refused at once; the rest of the lines is looked at when a batch is made of the file. */
async function checkContent(draft: FileDraft, filename: string): Promise<void> {
  if (!filename.endsWith('.jsonl')) {
    throw new ApiError(400, 'Invalid file format for Batch API. Must be .jsonl');
  }
  if (draft.bytes === 0) throw invalidValue('file', 'Invalid file: the file is empty.');
  const handle = await open(draft.path);
  try {
    for await (const [line = ''] of readLines(handle)) {
      JSON.parse(line);
      break;
    }
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
