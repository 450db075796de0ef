import { compilePlan, type Plan } from './answer-plan.ts';
import { Facts } from './facts.ts';
import { isSchema } from './json-schema.ts';

// Every line of a batch carries the same schema, so a few plans serve a hundred thousand requests.
const plans = new Map<string, Plan>();
const plansKept = 200;

/** The compiled plan for a schema, compiled once for each distinct text of it. */
export function planFor(schemaText: string): Plan {
  const known = plans.get(schemaText);
  if (known) return known;
  const schema: unknown = JSON.parse(schemaText);
  const plan = compilePlan(isSchema(schema) ? schema : {});
  if (plans.size >= plansKept) plans.clear();
  plans.set(schemaText, plan);
  return plan;
}

/**
 * The answer to a prompt: JSON text that satisfies the schema, or a sentence where there is none. Pure: the
 * same prompt and schema give the same answer, and prompts that differ give different ones as long as the
 * schema has a free string to tell them by.
 */
export function answer(facts: Facts, schemaText: string | null): string {
  if (schemaText === null) return `In short: ${facts.summary}`;
  return planFor(schemaText)(facts, 0, 0);
}

/** The same, from the prompt's text and the schema itself. */
export function answerText(prompt: string, schema?: unknown): string {
  return answer(new Facts(prompt), schema === undefined ? null : JSON.stringify(schema));
}
