import { digestOf, seededRandom } from './digest.ts';
import type { FaultRule } from './fault-rules.ts';

/** A rule that strikes, and how often it had struck before. */
export type Strike = { rule: FaultRule; turn: number };

/** Counts the occasions of one rule and says at which of them it strikes. */
export class Occasions {
  readonly rule: FaultRule;
  #at: Set<number> | null;
  #random: () => number;
  #seen = 0;
  #struck = 0;

  constructor(rule: FaultRule, seed: number) {
    this.rule = rule;
    this.#at = rule.at ? new Set(rule.at) : null;
    this.#random = seededRandom(seed);
  }

  /** One more occasion; null where the rule does not strike. */
  next(): Strike | null {
    this.#seen++;
    return this.#strikes() ? { rule: this.rule, turn: this.#struck++ } : null;
  }

  #strikes(): boolean {
    if (this.#at) return this.#at.has(this.#seen);
    const { probability } = this.rule;
    return probability === undefined || this.#random() < probability;
  }
}

/** The rules as they stand, each with a count and a chance of its own, so that none disturbs another's. */
export function countOccasions(rules: FaultRule[], seed: number): Occasions[] {
  return rules.map((rule, index) => new Occasions(rule, digestOf(`${index} ${rule.fault}`, seed)));
}

/** One more occasion for several rules: the first that strikes, and null where none does. All of them count it. */
export function firstStrike(counted: Occasions[]): Strike | null {
  let first: Strike | null = null;
  for (const each of counted) {
    const strike = each.next();
    first ??= strike;
  }
  return first;
}
