/**
 * @file ZAP (rfc.zeromq.org/spec/27): libzmq asks here about every CURVE handshake. Without a handler it lets everyone in who knows
 * the server's key. One a process.
 */
import * as zmq from 'zeromq';

const ENDPOINT = 'inproc://zeromq.zap.01';
const KEY_BYTES = 32;

export interface ZapOptions {
  /** @param domain of the socket that asks. @param publicKey of the client, hex. */
  readonly decide: (domain: string, publicKey: string) => boolean;
  readonly onError: (error: Error) => void;
}

export class Zap {
  private readonly options: ZapOptions;
  private readonly socket = new zmq.Router({ linger: 0, sendTimeout: 0 });

  constructor(options: ZapOptions) {
    this.options = options;
  }

  async open(): Promise<void> {
    await this.socket.bind(ENDPOINT);
    void this.serve();
  }

  close(): void {
    this.socket.close();
  }

  private async serve(): Promise<void> {
    try {
      for await (const frames of this.socket) {
        const [id, empty, version, requestId, domain, , , mechanism, key] = frames;
        if (id === undefined || empty === undefined || requestId === undefined) continue;
        const isCurve = mechanism?.toString() === 'CURVE' && key?.byteLength === KEY_BYTES;
        const isGood = isCurve && this.options.decide(String(domain), key.toString('hex'));
        const verdict = isGood ? ['200', 'OK'] : ['400', 'not admitted'];
        await this.socket.send([id, '', version ?? '1.0', requestId, ...verdict, '', '']);
      }
    } catch (error) {
      if (this.socket.closed) return;
      this.options.onError(error instanceof Error ? error : new Error(String(error)));
    }
  }
}
