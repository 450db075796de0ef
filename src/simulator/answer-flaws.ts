import { answer } from './answer.ts';
import type { Said } from './answer-bodies.ts';
import { cutTo, type Facts } from './facts.ts';
import { unstorable } from './unstorable.ts';

export const answerFlaws = ['refused', 'filtered', 'cut', 'not_json', 'off_schema', 'off_type'] as const;

/** What can be wrong with an answer that is paid for all the same. */
export type AnswerFlaw = (typeof answerFlaws)[number];

const refusalText = "I'm sorry, but I can't help with that.";

/** The flawed answer in place of the proper one. Pure, as the proper one is. */
export function flawed(flaw: AnswerFlaw, proper: string, facts: Facts, schemaText: string | null): Said {
  const half = () => cutTo(proper, Math.floor(proper.length / 2));
  switch (flaw) {
    case 'refused':
      return { text: refusalText, isRefusal: true, finish: 'stop' };
    case 'filtered':
      return { text: half(), isRefusal: false, finish: 'content_filter' };
    case 'cut':
      return { text: half(), isRefusal: false, finish: 'length' };
    case 'not_json':
      return { text: answer(facts, null), isRefusal: false, finish: 'stop' };
    case 'off_schema':
      return { text: '{"unexpected": true}', isRefusal: false, finish: 'stop' };
    case 'off_type':
      return { text: unstorable(proper, schemaText), isRefusal: false, finish: 'stop' };
  }
}
