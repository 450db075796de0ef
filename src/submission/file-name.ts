const pattern = /^rowmill-(.+)\.jsonl$/;

/** What an input file is called at the provider: an upload that broke off is found by it. */
export function fileNameOf(key: string): string {
  return `rowmill-${key}.jsonl`;
}

/** The key in a file's name; null where it is no file of Rowmill's. */
export function keyOfFileName(name: string): string | null {
  return pattern.exec(name)?.[1] ?? null;
}
