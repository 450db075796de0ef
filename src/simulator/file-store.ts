import { type FileHandle, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ApiError } from './errors.ts';
import { newFileId, unixSeconds } from './ids.ts';

export type FileObject = {
  id: string;
  object: 'file';
  bytes: number;
  created_at: number;
  expires_at: number | null;
  filename: string;
  purpose: string;
  status: 'processed';
  status_details: null;
};

export type NewFile = { filename: string; purpose: string; expiresAfterSeconds: number };

export const thirtyDays = 2_592_000;

/** A file that is being written; nobody sees it before `keep`. */
export type FileDraft = {
  readonly id: string;
  readonly path: string;
  readonly bytes: number;
  write(data: Uint8Array | string): Promise<void>;
  keep(file: NewFile): Promise<FileObject>;
  discard(): Promise<void>;
};

/** Contents on disk, one file each by id; what is said about them in memory, oldest first. */
export class FileStore {
  #directory: string;
  #files = new Map<string, FileObject>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  get size(): number {
    return this.#files.size;
  }

  pathOf(id: string): string {
    return join(this.#directory, id);
  }

  async draft(): Promise<FileDraft> {
    const id = newFileId();
    return new Draft(id, this.pathOf(id), await open(this.pathOf(id), 'wx'), (file) => {
      this.#files.set(id, file);
    });
  }

  find(id: string): FileObject | undefined {
    return this.#files.get(id);
  }

  /** The file, or the 404 that its absence is answered with. */
  get(id: string): FileObject {
    const file = this.#files.get(id);
    if (!file) throw new ApiError(404, `No such File object: ${id}`, { param: 'id' });
    return file;
  }

  all(): FileObject[] {
    return [...this.#files.values()];
  }

  /** Whoever has the file open goes on reading it. */
  async delete(id: string): Promise<void> {
    this.get(id);
    this.#files.delete(id);
    await rm(this.pathOf(id), { force: true });
  }
}

class Draft implements FileDraft {
  readonly id: string;
  readonly path: string;
  bytes = 0;
  #handle: FileHandle;
  #publish: (file: FileObject) => void;

  constructor(id: string, path: string, handle: FileHandle, publish: (file: FileObject) => void) {
    this.id = id;
    this.path = path;
    this.#handle = handle;
    this.#publish = publish;
  }

  async write(data: Uint8Array | string): Promise<void> {
    const bytes = typeof data === 'string' ? Buffer.from(data, 'utf8') : data;
    await this.#handle.appendFile(bytes);
    this.bytes += bytes.byteLength;
  }

  async keep({ filename, purpose, expiresAfterSeconds }: NewFile): Promise<FileObject> {
    await this.#handle.close();
    const createdAt = unixSeconds();
    const file: FileObject = {
      id: this.id,
      object: 'file',
      bytes: this.bytes,
      created_at: createdAt,
      expires_at: createdAt + expiresAfterSeconds,
      filename,
      purpose,
      status: 'processed',
      status_details: null,
    };
    this.#publish(file);
    return file;
  }

  async discard(): Promise<void> {
    await this.#handle.close();
    await rm(this.path, { force: true });
  }
}
