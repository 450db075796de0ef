export const routeNames = [
  'upload',
  'list_files',
  'retrieve_file',
  'content',
  'delete_file',
  'create',
  'list',
  'retrieve',
  'cancel',
] as const;

/** What fault rules call the routes of Files and Batches. */
export type RouteName = (typeof routeNames)[number];

const names: Record<string, RouteName> = {
  'POST /v1/files': 'upload',
  'GET /v1/files': 'list_files',
  'GET /v1/files/:id': 'retrieve_file',
  'GET /v1/files/:id/content': 'content',
  'DELETE /v1/files/:id': 'delete_file',
  'POST /v1/batches': 'create',
  'GET /v1/batches': 'list',
  'GET /v1/batches/:id': 'retrieve',
  'POST /v1/batches/:id/cancel': 'cancel',
};

/** The name of a route by its method and pattern; null for all others, the synchronous endpoints among them. */
export function routeNameOf(method: string, pattern: string | undefined): RouteName | null {
  return names[`${method} ${pattern}`] ?? null;
}
