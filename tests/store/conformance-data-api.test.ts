import { createSupabaseTransport } from '../../src/store/supabase-transport.ts';
import { startPostgrest } from '../support/postgrest.ts';
import { describeTransport } from './conformance.ts';

describeTransport('the Data API', {
  open: async (databaseUrl) => {
    const api = await startPostgrest({ databaseUrl });
    const transport = createSupabaseTransport({ url: api.url, key: api.serviceKey });
    return {
      transport,
      close: async () => {
        await transport.close(1000);
        await api.close();
      },
    };
  },
  openAt: (port) => createSupabaseTransport({ url: `http://127.0.0.1:${port}`, key: 'a-key' }),
});
