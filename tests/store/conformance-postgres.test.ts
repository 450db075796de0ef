import { createPostgresTransport } from '../../src/store/postgres-transport.ts';
import { describeTransport } from './conformance.ts';

describeTransport('postgres.js', {
  open: async (url) => {
    const transport = createPostgresTransport({ url });
    return { transport, close: () => transport.close(1000) };
  },
  openAt: (port) => createPostgresTransport({ url: `postgres://nobody@127.0.0.1:${port}/nowhere` }),
});
