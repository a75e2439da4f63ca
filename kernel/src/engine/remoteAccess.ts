/** @file The way in for other machines: a CURVE key pair, a token, an invite that holds both. Opened on the first invite. */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import * as zmq from 'zeromq';
import { encodeInvite } from '@ravenlab/protocol';
import type { PortHandlers } from './transport.js';
import { RouterPort } from './transport.js';

const ZAP_ENDPOINT = 'inproc://zeromq.zap.01';
const TOKEN_BYTES = 18;

/** What makes an invite valid in a later life of the engine; a secret. */
interface SavedAccess {
  readonly port: number;
  readonly publicKey: string;
  readonly secretKey: string;
  readonly token: string;
}

export interface RemoteAccessOptions {
  /** Address to bind and to put into invites; the loopback address keeps strangers out. */
  readonly host: string;
  /** As an earlier life of this engine saved it, or null. */
  readonly saved: string | null;
  /** Resolves when `text` is on the disk. */
  readonly save: (text: string) => Promise<unknown>;
}

export class RemoteAccess {
  private readonly handlers: PortHandlers;
  private readonly options: RemoteAccessOptions;
  private readonly saved: SavedAccess | null;
  private readonly token: string;
  private readonly keys: ReturnType<typeof zmq.curveKeyPair>;
  private opening: Promise<string> | null = null;
  private port: RouterPort | null = null;
  private zap: zmq.Router | null = null;

  constructor(handlers: PortHandlers, options: RemoteAccessOptions) {
    this.handlers = handlers;
    this.options = options;
    this.saved = options.saved === null ? null : (JSON.parse(options.saved) as SavedAccess);
    this.keys = this.saved ?? zmq.curveKeyPair();
    this.token = this.saved?.token ?? randomBytes(TOKEN_BYTES).toString('base64url');
  }

  /**
   * Listens again where an earlier life of this engine did, so that its workers come back by themselves. Rejects when the port
   * is another process's by now.
   */
  async reopen(): Promise<void> {
    if (this.saved !== null) await this.invite();
  }

  /** The invite; the first call opens the port. */
  invite(): Promise<string> {
    this.opening ??= this.open();
    // The next one who asks gets a new try.
    this.opening.catch(() => (this.opening = null));
    return this.opening;
  }

  /** CURVE public key that invites name, Z85. */
  get serverKey(): string {
    return this.keys.publicKey;
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
    const { saved, token } = this;
    const { host, save } = this.options;
    const { publicKey, secretKey } = this.keys;
    if (this.zap === null) await this.openZap();
    const router = new RouterPort(
      { origin: 'remote', curve: { publicKey, secretKey } },
      this.handlers,
    );
    try {
      const wanted = saved === null ? '*' : String(saved.port);
      const endpoint = await router.listen(`tcp://${bracketed(host)}:${wanted}`);
      const port = Number(endpoint.slice(endpoint.lastIndexOf(':') + 1));
      const access: SavedAccess = { port, publicKey, secretKey, token };
      if (saved === null) await save(JSON.stringify(access));
      this.port = router;
      return encodeInvite({ host, port, serverKey: publicKey, token });
    } catch (error) {
      router.close();
      throw error;
    }
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
