/**
 * @file The connection to an engine far away: one DEALER, frames in and out, up and down. Knows no messages. ZeroMQ reconnects by
 * itself; what was in its pipe is lost then, so every `up` begins a new conversation.
 */
import { Dealer } from 'zeromq';
import { LIMITS, RavenError, WORKER_LIMITS } from '@ravenlab/protocol';

export interface CurveKeys {
  readonly publicKey: string;
  readonly secretKey: string;
  /** The engine's public key. */
  readonly serverKey: string;
}

export interface LinkOptions {
  readonly endpoint: string;
  /** Null on the private endpoint of an engine on this machine. */
  readonly curve: CurveKeys | null;
  /** SOCKS5 server on the way, `host:port`: it resolves the endpoint's name. */
  readonly proxy: string | null;
}

export interface LinkEvents {
  /** Connected and, with CURVE, authenticated. */
  up(): void;
  down(): void;
  /** Frames may be memory that is used again once this returns. */
  message(frames: readonly Uint8Array[]): void;
  /** There is no point in trying again. */
  refused(error: RavenError): void;
  /** Our own mistake or the library's. */
  failed(error: Error): void;
}

/** Time after a lost connection in which libzmq shows that it tries again; ms. */
const REDIAL_MS = 500;
/** Handshakes that fail in a row, with none before that succeeded, until the key must be wrong. */
const HANDSHAKES = 5;

export interface Link {
  /** Connects, and keeps connecting until `close`. */
  open(): void;
  /**
   * Queues a message. Dropped when the link is down: the conversation it belonged to is over.
   * @returns whether its frames may change now.
   */
  send(frames: Uint8Array[]): boolean;
  /** Gives the connection up and makes a new one, after `pauseMs` at the earliest. */
  restart(pauseMs?: number): void;
  /** Closes once what was sent before has left. */
  close(): Promise<void>;
}

export class EngineLink implements Link {
  private readonly options: LinkOptions;
  private readonly events: LinkEvents;
  private socket: Dealer | undefined;
  private readonly queue: Uint8Array[][] = [];
  private redial: NodeJS.Timeout | undefined;
  private patience: NodeJS.Timeout | undefined;
  /** It has been tried in vain for a while: the pauses between two attempts may grow. */
  private isPatient = false;
  private isSending = false;
  private isUp = false;
  private wasUp = false;
  private failedHandshakes = 0;

  constructor(options: LinkOptions, events: LinkEvents) {
    this.options = options;
    this.events = events;
  }

  open(): void {
    const { endpoint, curve, proxy } = this.options;
    const socket = new Dealer({
      immediate: true,
      linger: WORKER_LIMITS.lingerMs,
      sendHighWaterMark: 0,
      receiveHighWaterMark: 0,
      heartbeatInterval: LIMITS.heartbeatMs,
      heartbeatTimeout: LIMITS.heartbeatTimeoutMs,
      reconnectInterval: WORKER_LIMITS.reconnectMinMs,
      reconnectMaxInterval: this.isPatient
        ? WORKER_LIMITS.reconnectMaxMs
        : WORKER_LIMITS.reconnectSoonMs,
      maxMessageSize: LIMITS.socketFrameBytes,
      ...(proxy === null ? {} : { socksProxy: proxy }),
      ...(curve === null
        ? {}
        : {
            curvePublicKey: curve.publicKey,
            curveSecretKey: curve.secretKey,
            curveServerKey: curve.serverKey,
          }),
    });
    this.socket = socket;
    this.awaitEngine();
    this.observe(socket);
    socket.connect(endpoint);
    void this.receive(socket);
  }

  send(frames: Uint8Array[]): boolean {
    if (!this.isUp) return true;
    if (this.queue.length >= WORKER_LIMITS.sendQueue) {
      this.restart();
      return true;
    }
    this.queue.push(frames);
    if (!this.isSending) void this.flush();
    // libzmq reads them when it likes.
    return false;
  }

  restart(pauseMs = 0): void {
    this.keepDialling();
    this.socket?.close();
    this.socket = undefined;
    this.goDown();
    if (pauseMs === 0) this.open();
    else this.redial = setTimeout(() => this.open(), pauseMs);
  }

  /** libzmq is trying: there is no need to. */
  private keepDialling(): void {
    clearTimeout(this.redial);
    this.redial = undefined;
  }

  /** An engine that was killed is back within a second or two: only after a while is it worth nobody's time to look often. */
  private awaitEngine(): void {
    if (this.isPatient) return;
    this.patience ??= setTimeout(() => {
      this.isPatient = true;
      this.restart();
    }, WORKER_LIMITS.reconnectSoonForMs);
  }

  private stopWaiting(): void {
    clearTimeout(this.patience);
    this.patience = undefined;
  }

  async close(): Promise<void> {
    while (this.isSending && this.isUp) await new Promise((resolve) => setImmediate(resolve));
    this.keepDialling();
    this.stopWaiting();
    const { socket } = this;
    this.socket = undefined;
    this.isUp = false;
    socket?.close();
  }

  private observe(socket: Dealer): void {
    const isCurrent = (): boolean => socket === this.socket;
    socket.events.on('handshake', () => {
      if (!isCurrent()) return;
      this.stopWaiting();
      this.isUp = true;
      this.wasUp = true;
      this.failedHandshakes = 0;
      this.events.up();
    });
    socket.events.on('disconnect', () => {
      if (!isCurrent()) return;
      if (this.isPatient && this.isUp) {
        // Its pauses would be long ones; a socket keeps the options that it was made with.
        this.isPatient = false;
        this.restart();
        return;
      }
      this.awaitEngine();
      // libzmq gives up a peer that broke ZMTP (a frame above maxMessageSize, say) without trying again.
      this.redial ??= setTimeout(() => this.restart(), REDIAL_MS);
      this.goDown();
    });
    for (const sign of ['connect', 'connect:delay', 'connect:retry'] as const) {
      socket.events.on(sign, () => {
        if (isCurrent()) this.keepDialling();
      });
    }
    socket.events.on('handshake:error:auth', () => {
      if (isCurrent()) this.refuse('it was withdrawn or has expired');
    });
    const onFailure = (): void => {
      if (!isCurrent() || this.wasUp || ++this.failedHandshakes < HANDSHAKES) return;
      this.refuse('its key is not that of the engine there, which may have been started anew');
    };
    socket.events.on('handshake:error:protocol', onFailure);
    socket.events.on('handshake:error:other', onFailure);
  }

  private refuse(reason: string): void {
    this.events.refused(
      new RavenError(
        'cluster',
        `the engine at ${this.options.endpoint} does not accept this invite: ${reason}; ask for a new one`,
      ),
    );
  }

  private goDown(): void {
    this.queue.length = 0;
    if (!this.isUp) return;
    this.isUp = false;
    this.events.down();
  }

  /** One send at a time, as the library wants it. */
  private async flush(): Promise<void> {
    this.isSending = true;
    for (let frames = this.queue.shift(); frames !== undefined; frames = this.queue.shift()) {
      const { socket } = this;
      if (socket === undefined) break;
      try {
        await socket.send(frames);
      } catch (error) {
        // A closed socket refuses what was queued for it; the new one has its own queue.
        if (socket === this.socket) this.events.failed(asError(error));
        break;
      }
    }
    this.isSending = false;
  }

  private async receive(socket: Dealer): Promise<void> {
    try {
      for await (const frames of socket) {
        if (socket !== this.socket) return;
        this.events.message(frames);
      }
    } catch (error) {
      if (socket === this.socket) this.events.failed(asError(error));
    }
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
