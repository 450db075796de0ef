import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Another origin than the provider's, where nothing ever may arrive. */
export type Elsewhere = {
  url: string;
  /** What arrived: method, path, and whether it brought a key. */
  arrivals: string[];
  close(): Promise<void>;
};

/** Answers all that arrives with a batch that has ended, to tempt who follows a redirect. */
export async function startElsewhere(): Promise<Elsewhere> {
  const arrivals: string[] = [];
  const server = createServer((request, response) => {
    const key = request.headers.authorization === undefined ? 'without a key' : 'with a key';
    arrivals.push(`${request.method} ${request.url} ${key}`);
    request.resume();
    response.setHeader('content-type', 'application/json');
    response.end(
      '{"id":"file-elsewhere","object":"batch","status":"completed","output_file_id":null,"error_file_id":null}',
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    arrivals,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
