import { parseArgs } from 'node:util';
import { messageOf, RowmillError } from '../errors.ts';
import { outputLimitOf } from '../pipeline/output-limit.ts';
import type { HeldRow, InputRow, PipelineDefinition } from '../pipeline/pipeline.ts';
import { compileRequestLine } from '../pipeline/request-line.ts';
import { compileTokenEstimate } from '../pipeline/tokens.ts';
import { createPostgresTransport } from '../store/postgres-transport.ts';
import type { Transport } from '../store/transport.ts';
import { type PreviewFigures, writePreview } from './write-preview.ts';

export const previewUsage = `options of preview:
       --pipeline <name>   which one
       --rows <number>     how many requests to show (5)
       --raw               each body on a line of its own, exactly as it would be sent`;

export type PreviewOptions = { pipeline: string; rows: number; isRaw: boolean };

/** Takes the command line after `preview`; raises RowmillError `usage`. */
export function readPreviewOptions(args: string[]): PreviewOptions {
  const flags = {
    pipeline: { type: 'string' },
    rows: { type: 'string', default: '5' },
    raw: { type: 'boolean', default: false },
  } as const;
  try {
    const { values } = parseArgs({ args, options: flags });
    if (values.pipeline === undefined || values.pipeline === '') {
      throw new Error('--pipeline is missing, e.g. npm run preview -- --pipeline movies --rows 5');
    }
    const rows = Number(values.rows);
    if (!/^\d+$/.test(values.rows) || rows < 1 || rows > 1000) {
      throw new Error(`--rows takes a whole number from 1 to 1000, and got '${values.rows}'`);
    }
    return { pipeline: values.pipeline, rows, isRaw: values.raw };
  } catch (error) {
    throw new RowmillError('usage', `${messageOf(error)}\n${previewUsage}`);
  }
}

type PreviewedRow = Pick<InputRow, 'hash' | 'input'> & { key: unknown; is_queued: boolean };

/** So many rows from all over the queue tell what the rest of it will take. */
const sampleRows = 300;

/**
 * Takes the owner's address of a database; resolves with the text that shows the requests which a pipeline would send
 * next, and what everything that is queued would cost. Sends nothing and changes nothing.
 */
export async function preview(url: string, options: PreviewOptions): Promise<string> {
  const transport = createPostgresTransport({ url, maxConnections: 1 });
  try {
    return await previewOver(transport, options);
  } finally {
    await transport.close(1000);
  }
}

async function previewOver(transport: Transport, options: PreviewOptions): Promise<string> {
  const { pipeline, rows, isRaw } = options;
  const found = await transport.value<{ definition: PipelineDefinition; queued: number; state: string }>(
    'preview_pipeline',
    { pipeline },
  );
  const { definition, queued } = found;
  const next = await readRows(transport, pipeline, rows, false);
  const bodies = toBodies(definition, next);
  if (isRaw) return bodies.map(({ text }) => `${text}\n`).join('');

  const sample = toBodies(definition, await readRows(transport, pipeline, sampleRows, true));
  const tokens = compileTokenEstimate(definition);
  const limit = outputLimitOf(definition);
  const sampled = sample.reduce((sum, { prompt }) => sum + (prompt === null ? 0 : tokens.count(prompt)), 0);
  const inputTokens = sample.length === 0 ? 0 : Math.ceil((sampled / sample.length) * queued);
  const [figures] = await transport.rows<PreviewFigures>('preview_cost', {
    pipeline,
    requests: queued,
    raw_input_tokens: inputTokens,
    max_output_tokens: limit === null ? null : limit.tokens * queued,
  });
  return writePreview({
    definition,
    queued,
    sampled: sample.length,
    areQueued: next[0]?.is_queued ?? false,
    bodies,
    figures: figures!,
    limit,
  });
}

const readRows = (transport: Transport, pipeline: string, maxRows: number, spread: boolean) =>
  transport.rows<PreviewedRow>('preview_rows', { pipeline, max_rows: maxRows, spread });

export type Body = { key: unknown; text: string; prompt: string | null };

function toBodies(definition: PipelineDefinition, rows: PreviewedRow[]): Body[] {
  const writeLine = compileRequestLine(definition);
  return rows.map((row, n) => {
    const held: HeldRow = { n, hash: row.hash, input: row.input, scale: 1 };
    const written = writeLine(0, held);
    if ('problem' in written) return { key: row.key, text: `(${written.problem.message})`, prompt: null };
    // Cut out of the line, not written anew: these are the bytes that would be sent.
    const from = written.line.indexOf('"body":') + '"body":'.length;
    return { key: row.key, text: written.line.slice(from, -1), prompt: written.prompt };
  });
}
