import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

export type Metrics = ReturnType<typeof createMetrics>;

/** What Prometheus scrapes at /metrics. One registry for each service, so that two in a process do not mix. */
export function createMetrics() {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  return {
    registry,
    chunks: new Counter({
      name: 'rowmill_chunks_total',
      help: 'Chunks taken, by how they came: posted by the database or fetched by the worker.',
      labelNames: ['came'] as const,
      registers,
    }),
    batches: new Counter({
      name: 'rowmill_batches_total',
      help: 'Batches by what became of their submission; stray and foreign ones were one too many and are cancelled; taken ones are of another intent.',
      labelNames: ['result'] as const,
      registers,
    }),
    rows: new Counter({
      name: 'rowmill_rows_total',
      help: 'Result lines by outcome.',
      labelNames: ['outcome'] as const,
      registers,
    }),
    tokens: new Counter({
      name: 'rowmill_tokens_total',
      help: 'Tokens that the provider reported.',
      labelNames: ['kind'] as const,
      registers,
    }),
    jobSeconds: new Histogram({
      name: 'rowmill_job_seconds',
      help: 'Duration of job runs.',
      labelNames: ['job', 'result'] as const,
      buckets: [0.01, 0.05, 0.25, 1, 5, 30, 120, 600],
      registers,
    }),
    webhooks: new Counter({
      name: 'rowmill_webhooks_total',
      help: "The provider's webhooks by what became of them: due (its batch is polled now), known, unknown (no such batch), refused (forged or old), invalid.",
      labelNames: ['result'] as const,
      registers,
    }),
    receivingBytes: new Gauge({
      name: 'rowmill_receiving_bytes',
      help: 'Bytes of posts that are in memory and not handed over yet: incomplete, or being answered.',
      registers,
    }),
    bytesInHand: new Gauge({
      name: 'rowmill_submission_bytes',
      help: 'Bytes of chunks that are in memory on their way to the provider.',
      registers,
    }),
  };
}
