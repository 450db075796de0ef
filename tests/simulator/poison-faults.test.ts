import { describe, expect, it } from 'vitest';
import { chatLine, responsesLine, runBatch, startWith } from './harness.ts';

const lines = (count: number) => Array.from({ length: count }, (_, i) => chatLine(`c-${i}`, `Row ${i}`));

describe('a line that a rule names', () => {
  it.each([
    ['invalid_url', 'url', /does not match the batch endpoint/],
    // The first form of this code is about the file; a line has another.
    ['invalid_request', 'body.model', /Model parameter is required/],
    ['token_limit_exceeded', null, /Enqueued token limit/],
    ['url_mismatch', null, /url_mismatch/],
  ])('fails its batch for %s', async (code, param, message) => {
    const { openai, simulator } = await startWith(`fails_validation@1;line=3;code=${code}`);
    const batch = await runBatch(openai, lines(5));
    expect(batch).toMatchObject({ status: 'failed', output_file_id: null, error_file_id: null });
    expect(batch.errors!.data).toEqual([{ code, param, line: 3, message: expect.stringMatching(message) }]);
    expect(simulator.ledger.executed).toBe(0);
    expect(await runBatch(openai, lines(5))).toMatchObject({ status: 'completed' });
  });

  it('has errors that stand in lines, by turns, where no code is given', async () => {
    const { openai } = await startWith('fails_validation;line=2');
    const codes: string[] = [];
    for (let i = 0; i < 3; i++) {
      const [error] = (await runBatch(openai, lines(2))).errors!.data!;
      expect(error!.line).toBe(2);
      codes.push(error!.code!);
    }
    expect(codes).toEqual(['invalid_json_line', 'missing_required_parameter', 'invalid_url']);
  });
});

describe('a poisonous prompt', () => {
  it('fails every batch that it is in, all its lines named, and no other batch', async () => {
    const { openai, simulator } = await startWith('fails_validation;prompt=Row 1');
    const batch = await runBatch(openai, lines(12));
    expect(batch).toMatchObject({ status: 'failed', output_file_id: null, error_file_id: null });
    expect(batch.errors!.data).toEqual(
      [2, 11, 12].map((line) => ({
        ...{ code: 'invalid_request', param: 'body.model', line },
        message: 'Model parameter is required.',
      })),
    );
    expect(simulator.ledger.executed).toBe(0);
    expect(simulator.enqueuedPeak()).toEqual({});
    expect(await runBatch(openai, lines(1))).toMatchObject({ status: 'completed', errors: null });
    expect(await runBatch(openai, [chatLine('again', 'Row 1')])).toMatchObject({ status: 'failed' });
  });

  it('fails it for the code of the rule, in the form of either endpoint', async () => {
    const { openai } = await startWith('fails_validation;prompt=poison;code=invalid_json_line');
    const input = [responsesLine('a', 'x'), responsesLine('b', 'some poison')];
    expect((await runBatch(openai, input, '/v1/responses')).errors!.data).toMatchObject([
      { code: 'invalid_json_line', line: 2 },
    ]);
  });

  it('is counted among the batches that hold it', async () => {
    const { openai } = await startWith('fails_validation@2;prompt=poison');
    const poisonous = [chatLine('a', 'x'), chatLine('b', 'poison'), chatLine('c', 'more poison')];
    const ended: string[] = [];
    for (const input of [poisonous, lines(2), poisonous, poisonous])
      ended.push((await runBatch(openai, input)).status);
    expect(ended).toEqual(['completed', 'completed', 'failed', 'completed']);
  });

  it('is reported beside lines that are wrong by themselves', async () => {
    const { openai } = await startWith('fails_validation;prompt=poison');
    const { errors } = await runBatch(openai, [chatLine('a', 'poison'), 'nonsense', chatLine('a', 'poison')]);
    expect(errors!.data!.map(({ line, code }) => [line, code])).toEqual([
      [1, 'invalid_request'],
      [2, 'invalid_json_line'],
      [3, 'duplicate_custom_id'],
    ]);
  });

  it('fails it for the first rule where several strike a line', async () => {
    const { openai } = await startWith(
      'fails_validation@2;prompt=poison;code=invalid_url',
      'fails_validation;prompt=on;code=model_not_found',
    );
    const codesOf = async () =>
      (await runBatch(openai, [chatLine('a', 'poison')])).errors!.data!.map(({ code }) => code);
    expect(await codesOf()).toEqual(['model_not_found']);
    expect(await codesOf()).toEqual(['invalid_url']);
  });
});
