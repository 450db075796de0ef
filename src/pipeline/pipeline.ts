/** A pipeline as SQL hands it to a worker: what one of its versions asks, of which model, and what it fills. */
export type PipelineDefinition = {
  id: number;
  name: string;
  version: number;
  /** The system message. */
  instructions: string | null;
  prompt: string;
  /** How the prompt names its columns: `{{Column}}` or `[Column]`. */
  placeholder_style: PlaceholderStyle;
  /** What the prompt calls its columns. */
  inputs: string[];
  outputs: PipelineOutput[];
  model: string;
  endpoint: '/v1/chat/completions' | '/v1/responses';
  format: 'json' | 'text';
  /** Further fields of the request's body, such as temperature. */
  params: Record<string, unknown>;
  /** The limit on output tokens that a budget demands where params set none; null: no budget holds. */
  output_cap: number | null;
  /** The JSON Schema's own text, so that its keys keep their order; null for format `text`. */
  response_schema_text: string | null;
};

export type PlaceholderStyle = 'braces' | 'brackets';

/** A column to fill. `json_text`: the model writes a document as a string, since strict schemas allow no free form. */
export type PipelineOutput = { name: string; encoding: 'value' | 'json_text' };

/** A row to send: its place in the chunk, the hash of its input, and the input itself. */
export type InputRow = { n: number; hash: string; input: Record<string, string | null> };

/** The same, once it is in flight; its limit on output tokens is multiplied by `scale` (1, or more after an answer was cut off). */
export type HeldRow = InputRow & { scale: number };
