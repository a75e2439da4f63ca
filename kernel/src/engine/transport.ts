/** @file Sockets of the engine behind one small interface; a peer is an opaque key. Knows frames, not messages. */
import * as zmq from 'zeromq';
import { LIMITS } from '@ravenlab/protocol';

/** One connection, for as long as it lasts; a worker that reconnects is another peer. */
export interface Peer {
  readonly key: string;
  /** Where it came in: only that port's peers can be on this machine for sure. */
  readonly origin: 'local' | 'remote';
  /** Queues a message. False when the peer is gone. Frames must not change until the peer has answered. */
  send(frames: readonly Uint8Array[]): boolean;
}

export interface PortHandlers {
  onOpen(peer: Peer): void;
  /** Frames may be memory that is used again once this returns. */
  onMessage(peer: Peer, frames: Uint8Array[]): void;
  /** The connection is gone; nothing more comes from it. A RemoteProtocolError says that the port cut it. */
  onClose(peer: Peer, error?: Error | null): void;
  /** The port receives nothing any more. */
  onError(error: Error): void;
}

export interface PortOptions {
  readonly origin: Peer['origin'];
  readonly curve: { readonly publicKey: string; readonly secretKey: string } | null;
}

/** ROUTER_NOTIFY of libzmq's draft API: `[id, ""]` when a peer connects and when it disconnects. */
const ROUTER_NOTIFY = 97;
const NOTIFY_BOTH = 3;

interface DraftOptions {
  setInt32Option(option: number, value: number): void;
}

/** A ROUTER whose peers are `Peer`s. */
export class RouterPort {
  private readonly socket: zmq.Router;
  private readonly peers = new Map<string, Peer>();
  private readonly origin: Peer['origin'];
  private readonly handlers: PortHandlers;
  private closing = false;

  constructor(options: PortOptions, handlers: PortHandlers) {
    this.origin = options.origin;
    this.handlers = handlers;
    this.socket = new zmq.Router({
      // mandatory + no timeout: a send tells at once whether the peer is there, instead of dropping silently.
      mandatory: true,
      sendTimeout: 0,
      // Bounds are byte credits; a high-water mark counts messages and drops.
      sendHighWaterMark: 0,
      receiveHighWaterMark: 0,
      linger: 0,
      heartbeatInterval: LIMITS.heartbeatMs,
      heartbeatTimeout: LIMITS.heartbeatTimeoutMs,
      maxMessageSize: LIMITS.socketFrameBytes,
      ...(options.curve === null
        ? {}
        : {
            curveServer: true,
            curvePublicKey: options.curve.publicKey,
            curveSecretKey: options.curve.secretKey,
            zapDomain: 'ravenlab',
          }),
    });
    (this.socket as unknown as DraftOptions).setInt32Option(ROUTER_NOTIFY, NOTIFY_BOTH);
  }

  /** Binds and starts to receive. @returns the endpoint, with the port that was chosen. */
  async listen(endpoint: string): Promise<string> {
    await this.socket.bind(endpoint);
    void this.receive();
    return this.socket.lastEndpoint ?? endpoint;
  }

  close(): void {
    this.closing = true;
    this.socket.close();
  }

  /** Ends when the socket is closed. */
  private async receive(): Promise<void> {
    try {
      for await (const message of this.socket) this.deliver(message);
    } catch (error) {
      this.handlers.onError(error instanceof Error ? error : new Error(String(error)));
    }
  }

  private deliver(message: Uint8Array[]): void {
    const [id, ...frames] = message;
    if (id === undefined) return;
    const key = Buffer.from(id).toString('hex');
    const known = this.peers.get(key);
    const isNotice = frames.length === 1 && frames[0]?.byteLength === 0;
    if (known === undefined) {
      const peer = this.open(key, Buffer.from(id));
      if (!isNotice) this.handlers.onMessage(peer, frames);
    } else if (isNotice) {
      this.peers.delete(key);
      this.handlers.onClose(known);
    } else {
      this.handlers.onMessage(known, frames);
    }
  }

  private open(key: string, id: Buffer): Peer {
    const peer: Peer = {
      key: `${this.origin}:${key}`,
      origin: this.origin,
      send: (frames) => {
        if (this.closing || this.peers.get(key) !== peer) return false;
        this.socket.send([id, ...frames]).catch(() => {
          this.lose(key, peer);
        });
        return true;
      },
    };
    this.peers.set(key, peer);
    this.handlers.onOpen(peer);
    return peer;
  }

  /** A send found nobody: the disconnect notice is on its way, or was lost with the connection. */
  private lose(key: string, peer: Peer): void {
    if (this.peers.get(key) !== peer) return;
    this.peers.delete(key);
    this.handlers.onClose(peer);
  }
}
