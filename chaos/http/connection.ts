import { connect, type Socket } from 'node:net';

/** What came for a request: a status; `closed` without one; or `nothing` in time. */
export type Answer = number | 'closed' | 'nothing';

/** A connection that is opened when it is needed, and again after it was closed. */
export class FuzzConnection {
  readonly #port: number;
  #socket: Socket | null = null;

  constructor(port: number) {
    this.#port = port;
  }

  /** Sends the bytes as they are, and waits for the first answer. Whatever is odd about it closes the connection. */
  send(bytes: Buffer, patienceMs: number, isHead = false): Promise<Answer> {
    const socket = this.#open();
    return new Promise((resolve) => {
      let heard = '';
      const end = (answer: Answer, keep = false) => {
        clearTimeout(timer);
        socket.off('data', onData).off('close', onClose);
        if (!keep) this.close();
        resolve(answer);
      };
      const onData = (part: Buffer) => {
        // Bodies are not looked at, but for their length.
        heard += part.toString('latin1');
        if (heard.startsWith('HTTP/1.1 100 ')) heard = heard.slice(heard.indexOf('\r\n\r\n') + 4);
        const headEnd = heard.indexOf('\r\n\r\n');
        if (headEnd < 0) return;
        const head = heard.slice(0, headEnd).toLowerCase();
        const status = Number(head.slice(9, 12));
        const length = Number(/\r\ncontent-length: (\d+)/.exec(head)?.[1] ?? Number.NaN);
        const isWhole = isHead || heard.length - headEnd - 4 >= length;
        if (Number.isNaN(length) || head.includes('\r\nconnection: close')) end(status);
        else if (isWhole) end(status, true);
      };
      const onClose = () => end(heard === '' ? 'closed' : Number(heard.slice(9, 12)));
      const timer = setTimeout(() => end('nothing'), patienceMs);
      socket.on('data', onData).on('close', onClose);
      socket.write(bytes);
    });
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = null;
  }

  #open(): Socket {
    if (this.#socket && !this.#socket.destroyed && this.#socket.writable) return this.#socket;
    this.#socket = connect({ port: this.#port, host: '127.0.0.1', noDelay: true });
    this.#socket.on('error', () => {});
    return this.#socket;
  }
}
