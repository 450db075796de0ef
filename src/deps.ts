import type { Logger } from 'pino';
import type { Reached } from './crash-points.ts';
import type { Metrics } from './metrics.ts';
import type { Provider } from './provider/provider.ts';
import type { Store } from './store/store.ts';

/** What routes and jobs work with; built by service.ts and by tests. */
export type Deps = {
  store: Store;
  provider: Provider;
  logger: Logger;
  metrics: Metrics;
  /** Set by tests that kill the process at a named moment. */
  reached?: Reached | undefined;
};
