import type { OutputLimit } from '../pipeline/output-limit.ts';
import type { PipelineDefinition } from '../pipeline/pipeline.ts';
import type { Body } from './preview.ts';

/** As `rowmill.preview_cost` returns them; numeric comes as text. */
export type PreviewFigures = {
  input_tokens: number;
  output_tokens: number | null;
  estimated_usd: string | null;
  most_usd: string | null;
  price_as_of: string | Date | null;
  waiting_reason: string | null;
  usd_left: string | null;
};

export type Preview = {
  definition: PipelineDefinition;
  queued: number;
  sampled: number;
  /** false: nothing is queued, and rows of the table stand for what could be. */
  areQueued: boolean;
  bodies: Body[];
  figures: PreviewFigures;
  limit: OutputLimit | null;
};

/** The preview as a person reads it; whatever cannot be known is called so, and never 0. */
export function writePreview(preview: Preview): string {
  const { definition, queued, bodies, areQueued } = preview;
  const { name, endpoint, version } = definition;
  const head = areQueued
    ? `${name}, version ${version}: the next ${count(bodies.length)} of ${count(queued)} queued rows, as they would be sent to ${endpoint}`
    : `${name}, version ${version}: nothing is queued; ${count(bodies.length)} rows of the table, as they would be sent to ${endpoint}`;
  const requests = bodies.map(({ key, text }) => `key ${JSON.stringify(key)}\n${indented(text)}\n`);
  return `${head}\n\n${requests.join('\n')}\n${writeCost(preview)}\nNothing was sent.\n`;
}

function writeCost({ definition, queued, sampled, figures, limit }: Preview): string {
  if (queued === 0) return 'Everything that is queued: nothing, so nothing would be paid.\n';
  const { output_tokens: output, estimated_usd: usd, most_usd: most, price_as_of: asOf } = figures;
  const lines = [
    `Everything that is queued: ${count(queued)} rows at most (those that the filter leaves out are not sent)`,
    `  input   about ${count(figures.input_tokens)} tokens, from ${count(sampled)} of the rows`,
    output === null
      ? '  output  unknown until a first batch has ended: no batch of this pipeline has, and params set no limit'
      : `  output  about ${count(output)} tokens${limit === null ? '' : `, at most ${count(limit.tokens)} for each row`}`,
    asOf === null
      ? `  cost    unknown: rowmill.model_prices has no price for ${definition.model}`
      : usd === null
        ? '  cost    unknown, as the output is'
        : `  cost    about ${dollars(usd)}${most === null ? '' : `; ${dollars(most)} would be reserved`} (${definition.model}, batch price, prices of ${day(asOf)})`,
  ];
  if (figures.usd_left !== null) lines.push(`  budget  ${dollars(figures.usd_left)} left`);
  if (figures.waiting_reason !== null) lines.push(`  waits   ${figures.waiting_reason}`);
  return `${lines.join('\n')}\n`;
}

function indented(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

const count = (number: number): string => number.toLocaleString('en-US');
const day = (date: string | Date): string => new Date(date).toISOString().slice(0, 10);

function dollars(usd: string): string {
  const amount = Number(usd);
  return `$${amount.toFixed(amount !== 0 && Math.abs(amount) < 1 ? 4 : 2)}`;
}
