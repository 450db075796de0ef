import { describe, expect, it } from 'vitest';
import { newBatchObject } from '../../src/simulator/batch-object.ts';
import { createFaults } from '../../src/simulator/create-faults.ts';
import { type FaultRule, faultNames, parseFault, readFaultScript } from '../../src/simulator/fault-rules.ts';

const newBatch = () =>
  newBatchObject({
    endpoint: '/v1/chat/completions',
    inputFileId: 'file-x',
    metadata: null,
    outputExpiresAfterSeconds: 3_600,
  });

describe('a rule on the command line', () => {
  it.each<[string, FaultRule]>([
    ['http_500', { fault: 'http_500' }],
    ['http_500:create=0.05', { fault: 'http_500', route: 'create', probability: 0.05 }],
    ['reset_after:create@1,3', { fault: 'reset_after', route: 'create', at: [1, 3] }],
    ['stuck_validating@2;ms=5000', { fault: 'stuck_validating', at: [2], ms: 5_000 }],
    ['expires=1;share=0.25', { fault: 'expires', probability: 1, share: 0.25 }],
    [
      'fails_validation;code=token_limit_exceeded',
      { fault: 'fails_validation', code: 'token_limit_exceeded' },
    ],
    [
      'request_fails@2;status=429;code=insufficient_quota ',
      { fault: 'request_fails', at: [2], status: 429, code: 'insufficient_quota' },
    ],
    ['fails_validation;line=7;code=invalid_url', { fault: 'fails_validation', line: 7, code: 'invalid_url' }],
    ['answer_refused@1;prompt=film 7 ', { fault: 'answer_refused', at: [1], prompt: 'film 7 ' }],
    [' answer_cut=0.5;prompt= a=b\n', { fault: 'answer_cut', probability: 0.5, prompt: ' a=b\n' }],
    [' http_500 ', { fault: 'http_500' }],
    ['download_bomb@2;mb=1.5;pipeline=a b ', { fault: 'download_bomb', at: [2], mb: 1.5, pipeline: 'a b' }],
    [
      'retrieve_redirect;to=http://127.0.0.1:9/x?y=1',
      { fault: 'retrieve_redirect', to: 'http://127.0.0.1:9/x?y=1' },
    ],
    [
      'list_endless:list=0.5;pipeline=x',
      { fault: 'list_endless', route: 'list', probability: 0.5, pipeline: 'x' },
    ],
    ['expires;pipeline=films', { fault: 'expires', pipeline: 'films' }],
    ['request_fails=1e-3;status=429', { fault: 'request_fails', probability: 0.001, status: 429 }],
  ])('is read: %s', (text, rule) => {
    expect(parseFault(text)).toEqual(rule);
  });

  it.each([
    ['', 'a fault reads <fault>[:<route>]'],
    ['http_500;probability=1', 'a fault reads <fault>[:<route>]'],
    ['http_599', 'fault: Invalid option: expected one of "http_429"|'],
    ['http_500:nowhere', 'and got "nowhere"'],
    ['http_500=2', 'probability: Too big: expected number to be <=1, and got 2'],
    ['http_500=often', 'expected number, received string, and got "often"'],
    ['http_500=', 'and got ""'],
    ['http_500@0', 'at.0: Too small: expected number to be >=1, and got 0'],
    ['http_500@1,,2', 'at.1: Invalid input: expected number, received string, and got ""'],
    ['http_500;ms=5', 'ms: http_500 takes no ms'],
    ['line_missing:create', 'route: line_missing takes no route'],
    ['token_limit_400:upload', 'route: token_limit_400 strikes create alone'],
    ['http_500;code=x', 'expected one of "invalid_request"|'],
    ['http_500;share=0.5', 'share: http_500 takes no share'],
    ['request_fails;status=200', 'status: expected 0 or the status of an error, and got 200'],
    ['expires;share=1.5', 'share: Too big'],
    ['fails_validation;code=insufficient_quota', 'code: expected one of "invalid_request"|'],
    ['fails_validation;line=0', 'line: Too small'],
    ['fails_validation;line=1;prompt=x', 'line: expected either a line or a prompt'],
    ['request_fails;line=1', 'line: request_fails takes no line'],
    ['request_fails;status=0;code=timeout', 'code: status 0 comes without a body'],
    ['request_fails;code=', 'code: Too small'],
    ['answer_cut;code=timeout', 'code: answer_cut takes no code'],
    ['answer_cut;prompt=', 'prompt: Too small'],
    ['answer_cut;prompt=a;b', 'a fault reads <fault>[:<route>]'],
    ['line_missing;prompt=x', 'prompt: line_missing takes no prompt'],
    ['expires;prompt=x', 'prompt: expires takes no prompt'],
    ['http_500;pipeline=x', 'pipeline: http_500 strikes before a pipeline is known'],
    ['upload_redirect;to=http://x;pipeline=y', 'pipeline: upload_redirect strikes before'],
    ['expires;pipeline=', 'pipeline: Too small'],
    ['expires;mb=1', 'mb: expires takes no mb'],
    ['download_bomb;mb=-1', 'mb: Too small'],
    ['download_redirect', 'to: expected an address'],
    ['download_redirect;to=ftp://x', 'to: Invalid URL'],
    ['download_bomb;to=http://x', 'to: download_bomb takes no to'],
    ['list_endless:create', 'route: list_endless takes no route but list and list_files'],
  ])("is refused, with what was expected and what came: '%s'", (text, message) => {
    expect(() => parseFault(text)).toThrow(message);
    expect(() => parseFault(text)).toThrow(`'${text}'`);
  });
});

describe('a script of faults', () => {
  it('is a JSON array of rules', () => {
    const rules: FaultRule[] = [
      { fault: 'http_500', route: 'create', at: [1, 3] },
      { fault: 'cancels', share: 0.5 },
    ];
    expect(readFaultScript(JSON.stringify(rules))).toEqual(rules);
    expect(readFaultScript('[]')).toEqual([]);
  });

  it.each([
    ['{', 'a fault script is a JSON array of rules, and this is no JSON'],
    ['{"fault":"http_500"}', 'expected array, received object'],
    ['[{"fault":"http_500"},{"fault":"http_500","at":1}]', '1.at: Invalid input: expected array'],
    ['[{"fault":"http_500","sometimes":true}]', '0: Unrecognized key: "sometimes"'],
    ['[{"fault":"http_500","at":[1],"probability":1}]', '0.at: expected either a probability or at'],
    ['[{"fault":"expires","at":[]}]', '0.at: Too small'],
  ])('is refused, with where it is wrong: %s', (text, message) => {
    expect(() => readFaultScript(text)).toThrow(message);
  });
});

describe('faults', () => {
  it('exist for every name of the list, and cost nothing without a rule', () => {
    expect(createFaults([])).toEqual({});
    for (const fault of faultNames) expect(Object.keys(createFaults([{ fault }])), fault).not.toEqual([]);
  });

  const request = { method: 'POST', path: '/v1/batches', route: 'create' } as const;
  // How often each of a thousand occasions is struck.
  const subjects: [string, FaultRule, (faults: ReturnType<typeof createFaults>) => Promise<boolean>][] = [
    [
      'requests',
      { fault: 'http_500', probability: 0.3 },
      async (faults) => (await faults.beforeReply!(request)) !== undefined,
    ],
    [
      'batches',
      { fault: 'no_output_file', probability: 0.3 },
      async (faults) => {
        const batch = newBatch();
        faults.created!(batch);
        return faults.losesOutput!(batch);
      },
    ],
    [
      'executions',
      { fault: 'request_fails', probability: 0.3 },
      async (faults) => faults.outcome!(newBatch(), 'c', {}) !== undefined,
    ],
    [
      'lines',
      { fault: 'line_missing', probability: 0.3 },
      async (faults) => faults.written!(newBatch(), '{}').length === 0,
    ],
  ];

  it.each(subjects)(
    'strike the share of %s that is asked for, and the same ones with the same seed',
    async (...[, rule, isStruck]) => {
      const run = async (seed?: number) => {
        const faults = createFaults([rule], seed === undefined ? {} : { seed });
        const struck: number[] = [];
        for (let i = 0; i < 1_000; i++) if (await isStruck(faults)) struck.push(i);
        return struck;
      };
      const struck = await run(7);
      expect(struck.length).toBeGreaterThan(240);
      expect(struck.length).toBeLessThan(360);
      expect(await run(7)).toEqual(struck);
      expect(await run(8)).not.toEqual(struck);
      expect(await run()).toEqual(await run(0));
    },
  );

  it.each(subjects)(
    'strike %s at the occasions of a script, and at no other',
    async (...[, rule, isStruck]) => {
      const { probability: _none, ...always } = rule;
      const scripted = createFaults([{ ...always, at: [2, 5] }]);
      const untold = createFaults([always]);
      const found: boolean[] = [];
      for (let i = 0; i < 6; i++) {
        found.push(await isStruck(scripted));
        expect(await isStruck(untold)).toBe(true);
      }
      expect(found).toEqual([false, true, false, false, true, false]);
    },
  );

  it('are drawn by each rule for itself, whatever other rules there are', async () => {
    const struck = async (rules: FaultRule[]) => {
      const faults = createFaults(rules);
      const found: number[] = [];
      for (let i = 0; i < 200; i++) {
        const fault = await faults.beforeReply!(request);
        if (fault && 'effect' in fault && fault.effect === 'done') found.push(i);
      }
      return found;
    };
    const after: FaultRule = { fault: 'reset_after', probability: 0.5 };
    expect(await struck([after, { fault: 'http_500', probability: 0.5 }])).toEqual(await struck([after]));
  });

  it('come from the first rule where several would strike, and the others count the occasion', async () => {
    const faults = createFaults(['http_500@1', 'http_503@1,2'].map(parseFault));
    expect(await faults.beforeReply!(request)).toMatchObject({ answer: { status: 500 } });
    expect(await faults.beforeReply!(request)).toMatchObject({ answer: { status: 503 } });
    expect(await faults.beforeReply!(request)).toBeUndefined();
  });
});
