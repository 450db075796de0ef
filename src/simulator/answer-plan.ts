import { numberMaker } from './answer-numbers.ts';
import { carrierKinds, type StringKind, stringKind, stringMaker } from './answer-strings.ts';
import { digestOf, pick } from './digest.ts';
import type { Facts } from './facts.ts';
import { isSchema, type JsonSchema, resolveReference, typeOf } from './json-schema.ts';
import { categoriesIn } from './lexicon.ts';

/** Makes one value as JSON text. Texts are put together rather than objects: nothing is walked twice. */
export type Plan = (facts: Facts, salt: number, depth: number) => string;

// Below this a schema that refers to itself is brought to an end: no items, no optional properties, null.
const deepest = 5;

/**
 * Compiles a schema to the function that answers it. Compiling costs some tens of microseconds and happens
 * once for each schema text (see answer.ts); what it returns is all that runs for each request.
 */
export function compilePlan(root: JsonSchema): Plan {
  const compiler = new Compiler(root);
  return compiler.compile(root, '');
}

class Compiler {
  #root: JsonSchema;
  #references = new Map<string, Plan>();
  #carrier: JsonSchema | null;

  constructor(root: JsonSchema) {
    this.#root = root;
    this.#carrier = findCarrier(root);
  }

  compile(schema: JsonSchema, name: string): Plan {
    if ('const' in schema) return constant(schema.const);
    if (Array.isArray(schema.enum)) return this.#enum(schema.enum, name);
    if (schema.$ref !== undefined) return this.#reference(schema.$ref, name);
    if (schema.allOf?.length) return this.compile(this.#merge(schema), name);
    const branches = schema.anyOf ?? schema.oneOf;
    if (branches?.length) return this.#branches(schema, branches, name);
    const salt = digestOf(name) % 1_000_003;
    switch (typeOf(schema)) {
      case 'object':
        return this.#object(schema, name);
      case 'array':
        return this.#array(schema, name);
      case 'integer':
      case 'number': {
        const make = numberMaker(schema, name);
        return (facts, add) => String(make(facts, salt + add));
      }
      case 'boolean':
        return (facts, add) => (pick(facts.digest, salt + add, 2) === 1 ? 'true' : 'false');
      case 'null':
        return () => 'null';
      default: {
        const kind: StringKind = schema === this.#carrier ? carried(schema, name) : stringKind(schema, name);
        const make = stringMaker(schema, name, kind);
        return (facts, add) => JSON.stringify(make(facts, add));
      }
    }
  }

  #object(schema: JsonSchema, name: string): Plan {
    const required = new Set(schema.required ?? []);
    const members = Object.entries(schema.properties ?? {}).map(([key, value]) => ({
      isRequired: required.has(key),
      head: `${JSON.stringify(key)}:`,
      plan: this.compile(isSchema(value) ? value : {}, key || name),
    }));
    return (facts, salt, depth) => {
      let made = '';
      for (const member of members) {
        if (depth > deepest && !member.isRequired) continue;
        made += (made === '' ? '{' : ',') + member.head + member.plan(facts, salt, depth + 1);
      }
      return made === '' ? '{}' : `${made}}`;
    };
  }

  #array(schema: JsonSchema, name: string): Plan {
    const { minItems = 0, maxItems = Number.POSITIVE_INFINITY } = schema;
    const items = schema.items && isSchema(schema.items) ? this.#resolve(schema.items) : {};
    const isWords = typeOf(items) === 'string' && isPlainString(items);
    const fixed = (schema.prefixItems ?? []).map((item) => this.compile(item, name));
    const plan = this.compile(schema.items && isSchema(schema.items) ? schema.items : {}, name);
    const isCarrier = this.#carrier !== null && items === this.#carrier;
    return (facts, salt, depth) => {
      const wanted = depth > deepest ? 0 : isWords ? facts.categories.length : 2;
      const length = Math.min(maxItems, Math.max(minItems, fixed.length, wanted));
      const made: string[] = [];
      for (let i = 0; i < length; i++) {
        if (i < fixed.length) made.push(fixed[i]!(facts, salt + i, depth + 1));
        // Words first, as a person expects; the carrier's summary only as the last of them.
        else if (isWords && i < wanted && !(isCarrier && i === length - 1)) {
          made.push(JSON.stringify(facts.categories[i]!));
        } else made.push(plan(facts, salt + i, depth + 1));
      }
      if (schema.uniqueItems || isWords) return `[${unique(made, minItems, facts, isWords).join(',')}]`;
      return `[${made.join(',')}]`;
    };
  }

  #enum(values: unknown[], name: string): Plan {
    const usable = values.filter((value) => value !== null);
    if (usable.length === 0) return () => 'null';
    const options = usable.map((value) => ({
      json: JSON.stringify(value),
      lower: String(value).toLowerCase(),
    }));
    const salt = digestOf(name) % 1_000_003;
    const isOfSentiment = options.some(({ lower }) => lower === 'positive' || lower === 'negative');
    return (facts, add) => {
      const spoken = options.filter(({ lower }) => lower.length > 2 && hasWord(facts.lower, lower));
      if (spoken.length > 0) return spoken[add % spoken.length]!.json;
      const known = isOfSentiment
        ? [facts.sentiment]
        : categoriesIn(facts.lower, 3).map((c) => c.toLowerCase());
      const fitting = options.filter(({ lower }) => known.includes(lower));
      if (fitting.length > 0) return fitting[add % fitting.length]!.json;
      return options[(pick(facts.digest, salt, options.length) + add) % options.length]!.json;
    };
  }

  #reference(reference: string, name: string): Plan {
    const key = `${name} ${reference}`;
    const known = this.#references.get(key);
    if (known) return known;
    // Entered before it is compiled, since a schema may refer to itself.
    let plan: Plan = () => 'null';
    this.#references.set(key, (facts, salt, depth) => plan(facts, salt, depth + 1));
    plan = this.compile(resolveReference(this.#root, reference) ?? {}, name);
    return this.#references.get(key)!;
  }

  #branches(schema: JsonSchema, branches: JsonSchema[], name: string): Plan {
    const { anyOf: _any, oneOf: _one, ...shared } = schema;
    const isNull = (branch: JsonSchema) => branch.type === 'null' || branch.const === null;
    const chosen = branches.find((branch) => !isNull(branch));
    if (!chosen) return () => 'null';
    const outer = shared.properties || shared.type ? this.#merge({ allOf: [shared, chosen] }) : chosen;
    // The branch keeps its identity where it can: the carrier is known by it.
    const described = chosen.description || !shared.description || chosen === this.#carrier || chosen.$ref;
    const plan = this.compile(described ? outer : { ...outer, description: shared.description! }, name);
    if (!branches.some(isNull)) return plan;
    return (facts, salt, depth) => (depth > deepest ? 'null' : plan(facts, salt, depth));
  }

  #merge(schema: JsonSchema): JsonSchema {
    const { allOf = [], ...merged } = schema;
    for (const part of allOf.map((each) => this.#resolve(each))) {
      const properties = { ...merged.properties, ...part.properties };
      const required = [...(merged.required ?? []), ...(part.required ?? [])];
      Object.assign(merged, part);
      if (Object.keys(properties).length > 0) merged.properties = properties;
      if (required.length > 0) merged.required = required;
    }
    return merged;
  }

  #resolve(schema: JsonSchema): JsonSchema {
    return schema.$ref === undefined ? schema : (resolveReference(this.#root, schema.$ref) ?? {});
  }
}

function constant(value: unknown): Plan {
  const json = JSON.stringify(value) ?? 'null';
  return () => json;
}

function isPlainString(schema: JsonSchema): boolean {
  const { enum: values, pattern, format, minLength, maxLength, anyOf, oneOf, allOf } = schema;
  return (
    ![values, pattern, format, minLength, maxLength, anyOf, oneOf, allOf].some((x) => x !== undefined) &&
    !('const' in schema)
  );
}

function hasWord(text: string, word: string): boolean {
  const isLetter = (unit: string | undefined) => unit !== undefined && /[\p{L}\p{N}]/u.test(unit);
  for (let at = text.indexOf(word); at !== -1; at = text.indexOf(word, at + 1)) {
    if (!isLetter(text[at - 1]) && !isLetter(text[at + word.length])) return true;
  }
  return false;
}

/** Leaves repetitions out; words are numbered where that would leave too few. */
function unique(items: string[], minimum: number, facts: Facts, isWords: boolean): string[] {
  const made = [...new Set(items)];
  for (let i = 0; isWords && made.length < minimum; i++) {
    const word = JSON.stringify(facts.words[i] ?? `${facts.words[0]} ${i}`);
    if (!made.includes(word)) made.push(word);
  }
  return made;
}

function carried(schema: JsonSchema, name: string): StringKind {
  const kind = stringKind(schema, name);
  return kind === 'json' ? kind : 'summary';
}

/** The string of a schema that shall hold the summary, so that different prompts get different answers. */
function findCarrier(root: JsonSchema): JsonSchema | null {
  let best: { schema: JsonSchema; rank: number } | null = null;
  const seen = new Set<JsonSchema>();
  const visit = (value: unknown, name: string, penalty: number): void => {
    if (!isSchema(value) || seen.has(value) || 'const' in value || value.enum) return;
    seen.add(value);
    if (value.$ref !== undefined) visit(resolveReference(root, value.$ref), name, penalty);
    for (const part of [...(value.anyOf ?? value.oneOf ?? []), ...(value.allOf ?? [])])
      visit(part, name, penalty);
    for (const [key, property] of Object.entries(value.properties ?? {})) visit(property, key, penalty);
    // An item of an array carries it only where nothing else can.
    if (value.items) visit(value.items, name, penalty + carrierKinds.length);
    const isString =
      typeOf(value) === 'string' && !value.$ref && !value.anyOf && !value.oneOf && !value.allOf;
    const rank = isString ? carrierKinds.indexOf(stringKind(value, name)) : -1;
    if (rank >= 0 && (best === null || rank + penalty < best.rank))
      best = { schema: value, rank: rank + penalty };
  };
  visit(root, '', 0);
  return (best as { schema: JsonSchema } | null)?.schema ?? null;
}
