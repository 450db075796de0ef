/** Marks our servers: on the command line of the postmaster and in the title of each of its processes. */
export const CLUSTER_NAME = 'rowmill';

/**
 * The server's settings, as `-c` arguments: the command line wins over every file, so data written under other
 * settings serve under these. Durability stays on unless the caller turns it off, as a throw-away test server may.
 */
export function settingArguments(port: number, overrides: Record<string, string> = {}): string[] {
  const settings: Record<string, string> = {
    shared_buffers: '128MB',
    max_connections: '100',
    // An import of 100,000 rows should not force checkpoints.
    max_wal_size: '1GB',
    jit: 'off',
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_min_messages: 'warning',
    log_checkpoints: 'off',
    ...overrides,
    // Not for the caller to change: how we reach the server, and how we recognise it.
    port: String(port),
    listen_addresses: '127.0.0.1',
    // A socket's path may be 107 bytes long, and a project's path is often longer.
    unix_socket_directories: '',
    cluster_name: CLUSTER_NAME,
    logging_collector: 'off',
    log_destination: 'stderr',
  };
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}
