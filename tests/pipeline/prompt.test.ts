import { describe, expect, test } from 'vitest';
import { compilePrompt } from '../../src/pipeline/prompt.ts';
import { hostileTexts } from './factories.ts';

describe('compilePrompt', () => {
  test('every placeholder takes the value of its column', () => {
    const render = compilePrompt('{{a}}-{{b}}-{{a}}', ['a', 'b']);
    expect(render({ a: '1', b: '2' })).toBe('1-2-1');
  });

  test('white space inside the braces does not count', () => {
    const render = compilePrompt('{{ Title }}|{{\n\tTitle}}|{{Film title }}', ['Title', 'Film title']);
    expect(render({ Title: 'x', 'Film title': 'y' })).toBe('x|x|y');
  });

  test('an exact match wins over one without regard to case', () => {
    const render = compilePrompt('{{title}} {{Title}}', ['Title', 'title']);
    expect(render({ Title: 'upper', title: 'lower' })).toBe('lower upper');
  });

  test('case is ignored where exactly one column matches', () => {
    expect(compilePrompt('{{TITLE}}', ['Title'])({ Title: 'x' })).toBe('x');
    expect(() => compilePrompt('{{TITLE}}', ['Title', 'title'])).toThrow(
      expect.objectContaining({ code: 'prompt_placeholder_unknown' }) as Error,
    );
  });

  test('a placeholder without a column is refused', () => {
    expect(() => compilePrompt('{{nobody}}', ['Title'])).toThrow(
      expect.objectContaining({ code: 'prompt_placeholder_unknown' }) as Error,
    );
  });

  test('null and missing values render as nothing', () => {
    const render = compilePrompt('[{{a}}][{{b}}][{{constructor}}]', ['a', 'b', 'constructor']);
    expect(render({ a: null })).toBe('[][][]');
  });

  test('single braces and empty ones are text', () => {
    expect(compilePrompt('{"a": {}} {x} {{}} {{{a}}}', ['a'])({ a: '1' })).toBe('{"a": {}} {x} {{}} {1}');
  });

  test('a column may have a name full of punctuation', () => {
    const label = `Größe (cm) $& "x"'; drop`;
    expect(compilePrompt(`{{${label}}}`, [label])({ [label]: '9' })).toBe('9');
  });

  test('in style brackets a column stands in brackets, and braces are text', () => {
    const render = compilePrompt('[ a ]-{{b}}-[B]-[]', ['a', 'b'], 'brackets');
    expect(render({ a: '1', b: '2' })).toBe('1-{{b}}-2-[]');
    expect(compilePrompt('[[a]]', ['a'], 'brackets')({ a: '[a]' })).toBe('[[a]]');
  });

  test('in style brackets a placeholder without a column is refused as it is written', () => {
    expect(() => compilePrompt('[nobody]', ['Title'], 'brackets')).toThrow(
      expect.objectContaining({ message: 'The prompt names [nobody], which is not an input.' }) as Error,
    );
  });

  test.each(Object.entries(hostileTexts))(
    'in style brackets data is never read as template: %s',
    (_what, text) => {
      const render = compilePrompt('<[Title]|[Description]>', ['Title', 'Description'], 'brackets');
      expect(render({ Title: `${text}[Description]`, Description: 'd' })).toBe(`<${text}[Description]|d>`);
    },
  );

  test.each(Object.entries(hostileTexts))('data is never read as template: %s', (_what, text) => {
    const render = compilePrompt('<{{Title}}|{{Description}}>', ['Title', 'Description']);
    expect(render({ Title: text, Description: 'd' })).toBe(`<${text}|d>`);
  });
});
