import { RowmillError } from '../errors.ts';
import type { InputRow, PlaceholderStyle } from './pipeline.ts';

export type RenderPrompt = (input: InputRow['input']) => string;

const placeholders: Record<PlaceholderStyle, { pattern: RegExp; write: (name: string) => string }> = {
  braces: { pattern: /\{\{([^{}]+)\}\}/g, write: (name) => `{{${name}}}` },
  brackets: { pattern: /\[([^[\]]+)\]/g, write: (name) => `[${name}]` },
};

/**
 * Takes a template with `{{Column}}`, or `[Column]` in style `brackets`, and the labels that it may name; returns what renders it for a row,
 * null and missing values as the empty string. Labels match exactly, else without regard to case where
 * exactly one does. Raises RowmillError `prompt_placeholder_unknown`.
 *
 * The template is cut apart once and values are put between the pieces, so nothing in a value is ever
 * read as a placeholder or as a replacement pattern.
 */
export function compilePrompt(
  template: string,
  inputs: string[],
  style: PlaceholderStyle = 'braces',
): RenderPrompt {
  const { pattern, write } = placeholders[style];
  const labels: string[] = [];
  const literals: string[] = [];
  let end = 0;
  for (const match of template.matchAll(pattern)) {
    labels.push(findLabel(match[1]!.trim(), inputs, write));
    literals.push(template.slice(end, match.index));
    end = match.index + match[0].length;
  }
  const rest = template.slice(end);

  return (input) => {
    let text = '';
    for (let i = 0; i < labels.length; i++) {
      const value = input[labels[i]!];
      // A label such as "constructor" finds a function where the row lacks it.
      text += typeof value === 'string' ? literals[i]! + value : literals[i]!;
    }
    return text + rest;
  };
}

function findLabel(name: string, inputs: string[], write: (name: string) => string): string {
  if (inputs.includes(name)) return name;
  const folded = name.toLowerCase();
  const similar = inputs.filter((label) => label.toLowerCase() === folded);
  if (similar.length === 1) return similar[0]!;
  throw new RowmillError(
    'prompt_placeholder_unknown',
    `The prompt names ${write(name)}, which is not an input.`,
    {
      fields: { placeholder: name, inputs },
    },
  );
}
