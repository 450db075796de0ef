import { createInterface } from 'node:readline/promises';
import { RowmillError } from '../../src/errors.ts';
import { type Film, someFilms } from './films.ts';
import { count } from './text.ts';

/** As rowmill.model_prices has it for gpt-4o-mini; needed before there is a database to ask. A test compares. */
export const price = { model: 'gpt-4o-mini', inputUsd: 0.15, outputUsd: 0.6, batchShare: 0.5 };

// English runs at about four characters a token. What surrounds a film (instructions, schema, framing) and
// the length of an answer were taken generously: an estimate that is too high annoys nobody.
const charactersPerToken = 4;
const tokensAround = 150;
const tokensAnswered = 90;

export type Estimate = { rows: number; inputTokens: number; outputTokens: number; usd: number };

export function estimateCost(films: Film[], rows: number): Estimate {
  let characters = 0;
  for (const film of someFilms(films, rows)) characters += film.Title.length + film.Description.length;
  const inputTokens = Math.ceil(characters / charactersPerToken) + rows * tokensAround;
  const outputTokens = rows * tokensAnswered;
  const usd =
    ((inputTokens * price.inputUsd + outputTokens * price.outputUsd) * price.batchShare) / 1_000_000;
  return { rows, inputTokens, outputTokens, usd };
}

export const dollars = (usd: number): string => `$${usd.toFixed(usd < 1 ? 4 : 2)}`;

/** Raises RowmillError `demo_consent` unless somebody agreed to pay. */
export async function askForConsent(estimate: Estimate, isAgreed: boolean): Promise<void> {
  const { model } = price;
  const tokens = `${count(estimate.inputTokens)} tokens in, ${count(estimate.outputTokens)} out`;
  process.stdout.write(`
OPENAI_API_KEY is set: ${count(estimate.rows)} films cost about ${dollars(estimate.usd)} at OpenAI
(${model} at the batch price; some ${tokens}).
A batch takes minutes as a rule, and a day at most.
`);
  if (isAgreed) return;
  const instead = 'Without OPENAI_API_KEY the simulator answers, for nothing.';
  if (!process.stdin.isTTY || !process.stdout.isTTY) {
    throw new RowmillError(
      'demo_consent',
      `There is nobody here to ask, so nothing was sent. Agree with --yes.\n${instead}`,
    );
  }
  const asking = createInterface({ input: process.stdin, output: process.stdout });
  // Ctrl-C and Ctrl-D mean no; without this the question would wait for ever.
  const answer = await new Promise<string>((resolve) => {
    asking.once('close', () => resolve(''));
    void asking.question('Go on? [y/N] ').then(resolve, () => resolve(''));
  });
  asking.close();
  if (!/^y(es)?$/i.test(answer.trim())) {
    throw new RowmillError('demo_consent', `Nothing was sent, nothing was paid.\n${instead}`);
  }
}
