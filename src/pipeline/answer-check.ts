import { _, Ajv, KeywordCxt, Name, type ValidateFunction } from 'ajv';
import { boundedRun } from '../bounded-run.ts';
import { messageOf } from '../errors.ts';
import { boundsProblem } from './json-bounds.ts';

/** Far more than a schema takes that a provider would accept. */
const compileMs = 2_000;
/** A larger schema that is referred to is a function of its own; copies of it could fill the memory. */
const inlinedKeys = 50;

/**
 * Keywords whose check may take any time: an expression can be exponential in the text that it looks at, and uniqueItems
 * compares each item with each. They are not checked here; docs/outcomes.md says so.
 */
const unchecked = ['pattern', 'patternProperties', 'uniqueItems'];

/** What says in words where a document does not fit a schema, or null where it does. */
export type AnswerCheck = {
  check: (document: unknown) => string | null;
  /** A check looks at no more than so many things for each character of the document; without a bound where it may recurse. */
  weight: number;
};

/**
 * Takes the text of a JSON Schema; returns its check.
 * Raises what is wrong with the schema, or that it takes too long to compile; checking raises nothing, and may take as long as
 * the schema makes it.
 */
export function compileCheck(schemaText: string): AnswerCheck {
  const outOfBounds = boundsProblem(schemaText);
  if (outOfBounds !== null) throw new TypeError(`The schema is ${outOfBounds.message}.`);
  const schema: unknown = JSON.parse(schemaText);
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) {
    throw new TypeError('A schema of an answer is an object.');
  }
  // Which draft a schema names is no reason to refuse it: providers ignore that as well. An asynchronous one would
  // answer with a promise, which nobody waits for: every document would fit, and the rejection would end the process.
  const { $schema: _draft, $async: _isAsync, ...bare } = schema as Record<string, unknown>;
  const validate = compile(bare);
  const check = (document: unknown) => {
    try {
      return validate(document) ? null : describe(validate);
    } catch (error) {
      // A schema that refers to itself recurses as deep as the document.
      return `The answer could not be checked against the schema: ${messageOf(error)}.`;
    }
  };
  // Without a reference each part of the schema is compared with each value once at the most.
  const text = JSON.stringify(bare);
  return { check, weight: text.includes('$ref') ? Number.POSITIVE_INFINITY : text.length };
}

function compile(schema: Record<string, unknown>): ValidateFunction {
  let validate = null as ValidateFunction | null;
  const isInTime = boundedRun(compileMs, () => {
    const ajv = new Ajv({
      strict: false,
      validateFormats: false,
      logger: false,
      inlineRefs: inlinedKeys,
      code: { regExp: anyText },
    });
    for (const keyword of unchecked) ajv.removeKeyword(keyword);
    for (const keyword of collecting) keepFirstError(ajv, keyword);
    validate = ajv.compile(schema);
  });
  if (!isInTime || validate === null) throw new TypeError('The schema takes too long to compile.');
  return validate;
}

/**
 * In place of a regular expression where a keyword asks for the names that patternProperties takes: it takes any, so that
 * `additionalProperties: false` beside it refuses none that might be meant.
 */
const anyText = Object.assign(() => ({ test: () => true }), { code: 'anyText' });

/** Keywords that collect the errors of all that they tried. */
const collecting = ['anyOf', 'oneOf', 'contains'];

/**
 * Lets a keyword keep the first error of what it tried, which is the one that is told. All of them would fill gigabytes within
 * a second, where a schema refers to itself.
 */
function keepFirstError(ajv: Ajv, keyword: string): void {
  const rule = ajv.RULES.all[keyword];
  if (typeof rule !== 'object' || !('code' in rule.definition)) return;
  const { definition } = rule;
  const { code } = definition;
  definition.code = (cxt, ruleType) => {
    const { gen, errsCount } = cxt;
    cxt.error = (append) => {
      const one = _`${errsCount} + 1`;
      gen.if(_`${errors} > ${one}`, () => gen.assign(_`${vErrors}.length`, one).assign(errors, one));
      KeywordCxt.prototype.error.call(cxt, append);
    };
    code(cxt, ruleType);
  };
}

// What ajv calls the errors and their number within the functions that it makes.
const vErrors = new Name('vErrors');
const errors = new Name('errors');

function describe(validate: ValidateFunction): string {
  const error = validate.errors?.[0];
  if (error === undefined) return 'The answer does not fit the schema.';
  return `The answer does not fit the schema: ${error.instancePath || 'the document'} ${error.message ?? 'is wrong'}.`;
}
