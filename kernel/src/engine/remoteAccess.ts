/** @file The way in for other machines: a CURVE key pair, a token, an invite that holds both. Opened on the first invite. */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import * as zmq from 'zeromq';
import { encodeInvite } from '@ravenlab/protocol';
import type { PortHandlers } from './transport.js';
import { RouterPort } from './transport.js';

const ZAP_ENDPOINT = 'inproc://zeromq.zap.01';
const TOKEN_BYTES = 18;

export class RemoteAccess {
  private readonly handlers: PortHandlers;
  private readonly host: string;
  private readonly token = randomBytes(TOKEN_BYTES).toString('base64url');
  private opening: Promise<string> | null = null;
  private port: RouterPort | null = null;
  private zap: zmq.Router | null = null;

  /** @param host address to bind and to put into invites; the loopback address keeps strangers out. */
  constructor(handlers: PortHandlers, host: string) {
    this.handlers = handlers;
    this.host = host;
  }

  /** The invite; the first call opens the port. */
  invite(): Promise<string> {
    this.opening ??= this.open();
    return this.opening;
  }

  /** Whether `token` is the invite's; takes the same time for every wrong one. */
  admits(token: string): boolean {
    const given = Buffer.from(token);
    const expected = Buffer.from(this.token);
    return given.length === expected.length && timingSafeEqual(given, expected);
  }

  close(): void {
    this.port?.close();
    this.zap?.close();
  }

  private async open(): Promise<string> {
    const keys = zmq.curveKeyPair();
    await this.openZap();
    this.port = new RouterPort({ origin: 'remote', curve: keys }, this.handlers);
    const endpoint = await this.port.listen(`tcp://${bracketed(this.host)}:*`);
    const port = Number(endpoint.slice(endpoint.lastIndexOf(':') + 1));
    return encodeInvite({ host: this.host, port, serverKey: keys.publicKey, token: this.token });
  }

  /**
   * ZAP (RFC 27): without a handler libzmq lets everyone in who knows the server's key. Ours admits CURVE clients only;
   * the token in HELLO decides the rest, because a socket does not say whose key a message came with.
   */
  private async openZap(): Promise<void> {
    const zap = new zmq.Router({ linger: 0, sendTimeout: 0 });
    this.zap = zap;
    await zap.bind(ZAP_ENDPOINT);
    void this.serveZap(zap);
  }

  private async serveZap(zap: zmq.Router): Promise<void> {
    try {
      for await (const frames of zap) {
        const [id, empty, version, requestId, , , , mechanism, key] = frames;
        if (id === undefined || empty === undefined || requestId === undefined) continue;
        const isCurve = mechanism?.toString() === 'CURVE' && key?.byteLength === 32;
        const verdict = isCurve ? ['200', 'OK'] : ['400', 'CURVE is required'];
        await zap.send([id, '', version ?? '1.0', requestId, ...verdict, '', '']);
      }
    } catch (error) {
      if (!zap.closed)
        this.handlers.onError(error instanceof Error ? error : new Error(String(error)));
    }
  }
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
