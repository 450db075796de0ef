import { describe, expect, it } from 'vitest';
import type { PipelineDefinition } from '../../src/pipeline/pipeline.ts';
import { loadPipeline } from '../../src/submission/compiled.ts';
import { makeDefinition } from '../pipeline/factories.ts';

describe('a pipeline is compiled', () => {
  const load = (definition: PipelineDefinition) =>
    loadPipeline({ store: { getPipeline: async () => structuredClone(definition) } as never }, 1);
  const failureOf = (definition: PipelineDefinition) => load(definition).catch((error: unknown) => error);

  it('once, and once more when its definition changes', async () => {
    const definition = makeDefinition({ name: 'once' });
    const first = await load(definition);
    expect(await load(definition)).toBe(first);
    expect(await load({ ...definition, version: 2 })).not.toBe(first);
  });

  it('once as well where that fails: a schema may take seconds to refuse', async () => {
    const definition = makeDefinition({ name: 'bad', response_schema_text: '{"type":"no such type"}' });
    const first = await failureOf(definition);
    expect(first).toMatchObject({ code: 'pipeline_schema_invalid' });
    expect(await failureOf(definition)).toBe(first);
  });

  it('and kept while it is used, whatever number of others come by', async () => {
    const used = makeDefinition({ name: 'used' });
    const first = await load(used);
    for (let other = 0; other < 250; other += 1) {
      await load(makeDefinition({ name: `other ${other}` }));
      if (other % 50 === 0) await load(used);
    }
    expect(await load(used)).toBe(first);
  });
});
