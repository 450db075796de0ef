import { afterEach, describe, expect, test, vi } from 'vitest';
import { parseCustomId } from '../../src/pipeline/custom-id.ts';
import { compileOutcome, type LineOutcome } from '../../src/pipeline/outcome.ts';
import type { PipelineDefinition } from '../../src/pipeline/pipeline.ts';
import { compileRequestLine } from '../../src/pipeline/request-line.ts';
import { splitLines } from '../../src/pipeline/split-lines.ts';
import { createOpenAiProvider } from '../../src/provider/openai.ts';
import type { Provider, ProviderBatch } from '../../src/provider/provider.ts';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { hash, hostileTexts, makeDefinition } from '../pipeline/factories.ts';
import { collect, failureOf } from './provider-under-test.ts';

let simulator: Simulator | undefined;
afterEach(() => simulator?.close());

async function againstSimulator(): Promise<Provider> {
  simulator = await startSimulator();
  return createOpenAiProvider({ apiKey: 'sk-simulated', baseURL: simulator.url });
}

async function runToTheEnd(
  provider: Provider,
  inputFileId: string,
  endpoint: string,
): Promise<ProviderBatch> {
  const { id } = await provider.createBatch({ inputFileId, endpoint, metadata: { rowmill: 'k1' } });
  return vi.waitFor(async () => {
    const batch = await provider.retrieveBatch(id);
    expect(['completed', 'failed']).toContain(batch.status);
    return batch;
  }, 10_000);
}

async function outcomesOf(
  provider: Provider,
  fileId: string,
  definition: PipelineDefinition,
): Promise<LineOutcome[]> {
  const read = compileOutcome(definition);
  const { bytes, chunks } = await provider.downloadFile(fileId);
  const lines = (await collect(splitLines(chunks))).flat();
  expect(lines.at(-1)?.end).toBe(bytes);
  return lines.map(({ text }) => read(text));
}

describe('a batch, from rows to values', () => {
  const texts = Object.values(hostileTexts);

  test.each(['/v1/chat/completions', '/v1/responses'] as const)(
    'every row of %s gets its answer',
    async (endpoint) => {
      const provider = await againstSimulator();
      const definition = makeDefinition({ endpoint });
      const write = compileRequestLine(definition);
      const parts = texts.map((Description, n) => {
        const result = write(42, { n, hash, input: { Title: `Film ${n}`, Description }, scale: 1 });
        return Buffer.from(`${'line' in result ? result.line : ''}\n`);
      });

      const inputFileId = await provider.uploadFile('k1.jsonl', parts);
      const batch = await runToTheEnd(provider, inputFileId, endpoint);
      expect(batch).toMatchObject({
        status: 'completed',
        inputFileId,
        errors: [],
        counts: { total: texts.length, completed: texts.length, failed: 0 },
        metadata: { rowmill: 'k1' },
      });
      expect(
        (await collect(provider.listBatches())).flatMap(({ batches }) => batches).map(({ id }) => id),
      ).toEqual([batch.id]);

      const outcomes = await outcomesOf(provider, batch.outputFileId ?? '', definition);
      for (const outcome of outcomes) {
        expect(outcome).toMatchObject({ ok: true, values: [expect.any(String), expect.any(Array)] });
        expect(outcome.usage?.inputTokens).toBeGreaterThan(0);
      }
      expect(
        outcomes.map(({ customId }) => parseCustomId(customId ?? '')?.n).sort((a, b) => a! - b!),
      ).toEqual(texts.map((_text, n) => n));

      expect((await provider.cancelBatch(batch.id)).status).toBe('completed');
      await provider.deleteFile(inputFileId);
      await provider.deleteFile(inputFileId);
      expect(await failureOf(provider.downloadFile(inputFileId))).toMatchObject({
        kind: 'rejected',
        status: 404,
      });
    },
  );

  test('a file that does not fit its batch fails with the reason', async () => {
    const provider = await againstSimulator();
    const inputFileId = await provider.uploadFile('k1.jsonl', [Buffer.from('{"custom_id":"a"}\n')]);
    const batch = await runToTheEnd(provider, inputFileId, '/v1/chat/completions');
    expect(batch).toMatchObject({ status: 'failed', outputFileId: null });
    expect(batch.errors[0]).toMatchObject({ code: 'missing_required_parameter', line: 1 });
  });

  test('a list of several pages comes whole', async () => {
    const provider = await againstSimulator();
    const inputFileId = await provider.uploadFile('k1.jsonl', [Buffer.from('{"custom_id":"a"}\n')]);
    const created: string[] = [];
    for (let i = 0; i < 105; i++) {
      const batch = await provider.createBatch({
        inputFileId,
        endpoint: '/v1/responses',
        metadata: { i: `${i}` },
      });
      created.push(batch.id);
    }
    const listed = await collect(provider.listBatches());
    expect(listed).toHaveLength(2);
    expect(
      listed
        .flatMap(({ batches }) => batches)
        .map(({ id }) => id)
        .sort(),
    ).toEqual(created.sort());
  });
});
