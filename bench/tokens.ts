import { readFilms, someFilms } from '../examples/demo/films.ts';
import type { PipelineDefinition } from '../src/pipeline/pipeline.ts';
import { compilePrompt } from '../src/pipeline/prompt.ts';
import { compileRequestLine } from '../src/pipeline/request-line.ts';
import { compileTokenEstimate } from '../src/pipeline/tokens.ts';
import { type DataSet, dataSets, fiveLanguages } from '../tests/support/five-languages.ts';
import { interleave, median, type Row, timed } from './measure.ts';

const chunkRows = 1000;
const chunksForErrors = 10;
const atMostMs = 20;
const atMostPercent = 3;

const definition: PipelineDefinition = {
  id: 1,
  name: 'bench',
  version: 1,
  instructions: null,
  prompt: 'Text: {{text}}',
  placeholder_style: 'braces',
  inputs: ['text'],
  outputs: [{ name: 'summary', encoding: 'value' }],
  model: 'gpt-4o-mini',
  endpoint: '/v1/chat/completions',
  format: 'text',
  params: {},
  output_cap: null,
  response_schema_text: null,
};

/** What estimating the tokens of a chunk takes, and how far it is off; needs no database. */
export async function benchTokens(runs: number): Promise<Row[]> {
  const rows: Row[] = [];
  // Languages in turn are what most chunks are like at worst; Chinese is what the tokenizer is slowest at.
  for (const dataSet of ['alternating', 'english', 'chinese'] as const) {
    rows.push(...(await timesOf(dataSet, runs)));
  }
  const render = compilePrompt('Title: {{Title}}\nDescription: {{Description}}', ['Title', 'Description']);
  rows.push(errorRow('films', [...someFilms(readFilms(), chunksForErrors * chunkRows)].map(render)));
  for (const dataSet of dataSets) {
    rows.push(errorRow(dataSet, fiveLanguages(dataSet, chunksForErrors * chunkRows)));
  }
  return rows;
}

async function timesOf(dataSet: DataSet, runs: number): Promise<Row[]> {
  const estimate = compileTokenEstimate(definition);
  const write = compileRequestLine(definition);
  const render = compilePrompt(definition.prompt, definition.inputs);
  let seed = 1;
  // Other rows in each run, since a word that the tokenizer has met is cheaper.
  const texts = () => {
    seed += 1;
    return fiveLanguages(dataSet, chunkRows, seed);
  };
  const estimating = async () => {
    // Rendered and looked through already, as a prompt is whose line has been written.
    const prompts = texts().map((text) => render({ text }));
    for (const prompt of prompts) prompt.isWellFormed();
    return await timed(async () => {
      const running = estimate.start();
      for (const prompt of prompts) running.add(prompt);
      running.total();
    });
  };
  const writing = async () => {
    const inputs = texts().map((text, n) => ({ n, hash: '0123456789abcdef', input: { text }, scale: 1 }));
    return await timed(async () => {
      for (const row of inputs) write(1, row);
    });
  };
  // Loads the tokenizer and warms both up.
  await interleave(10, { estimating, writing });
  const times = await interleave(runs, { estimating, writing });
  const milliseconds = times.estimating!;
  const ratio = median(milliseconds) / median(times.writing!);
  const ratios = milliseconds.map((time, at) => time / times.writing![at]!);
  return [
    {
      what: `estimating tokens, ${chunkRows} rows of 1 KB, ${dataSet}: ms`,
      value: median(milliseconds).toFixed(1),
      goal: `≤ ${atMostMs}`,
      spread: spread(milliseconds),
      verdict: median(milliseconds) <= atMostMs ? 'met' : 'missed',
    },
    {
      what: `estimating tokens against writing the lines, ${dataSet}`,
      value: ratio.toFixed(1),
      goal: '',
      spread: spread(ratios),
      verdict: '',
    },
  ];
}

/** The largest error of all chunks; the spread is from the smallest to the largest, with its sign. */
function errorRow(what: string, prompts: string[]): Row {
  const { count, start } = compileTokenEstimate(definition);
  const errors: number[] = [];
  for (let from = 0; from < prompts.length; from += chunkRows) {
    const chunk = prompts.slice(from, from + chunkRows);
    const running = start();
    let exact = 0;
    for (const prompt of chunk) {
      running.add(prompt);
      exact += count(prompt);
    }
    errors.push((running.total() / exact - 1) * 100);
  }
  const largest = Math.max(...errors.map(Math.abs));
  return {
    what: `estimating tokens, largest error of ${errors.length} chunks of ${what}: %`,
    value: largest.toFixed(2),
    goal: `≤ ${atMostPercent}`,
    spread: spread(errors, 2),
    verdict: largest <= atMostPercent ? 'met' : 'missed',
  };
}

function spread(values: number[], digits = 1): string {
  return `${Math.min(...values).toFixed(digits)}–${Math.max(...values).toFixed(digits)}`;
}
