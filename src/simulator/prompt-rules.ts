import type { Occasions } from './occasions.ts';
import { type Endpoint, type Json, readableRequest } from './request.ts';

/** The rules that are about a request: those that name no prompt, and those whose text is in the user's. */
export function rulesAbout(rules: Occasions[], endpoint: Endpoint, body: Json): Occasions[] {
  if (!rules.some(({ rule }) => rule.prompt !== undefined)) return rules;
  const text = readableRequest(endpoint, body)?.userText ?? '';
  return rules.filter(({ rule }) => rule.prompt === undefined || text.includes(rule.prompt));
}
