const datedIds: Record<string, string> = { 'gpt-4o-mini': 'gpt-4o-mini-2024-07-18' };

// Real models that no batch may name; validation fails on them.
const withoutBatch = /^(?:whisper|tts|dall-e)-|realtime|^unsupported-/;

/** The dated id that replies and batches carry in place of the alias. */
export function datedModel(model: string): string {
  return datedIds[model] ?? model;
}

/** False where the Batch API refuses the whole file because of the model. */
export function hasBatchSupport(model: string): boolean {
  return !withoutBatch.test(model);
}

/** False where each request is refused when it is executed: names that begin with `no-such-`. */
export function modelExists(model: string): boolean {
  return !model.startsWith('no-such-');
}
