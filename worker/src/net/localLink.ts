/**
 * @file The connection to an engine on this machine: one unix-domain socket, frames in and out, up and down. Knows no
 * messages. Connects again for ever; every `up` begins a new conversation.
 */
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { FrameSocket, WORKER_BOUNDS, WORKER_LIMITS } from '@ravenlab/protocol';
import type { Link, LinkEvents } from './engineLink.js';
import { SharedRing } from './sharedRing.js';

/** One read takes as much as a socket holds. */
const READ_BYTES = 256 * 1024;
/** What tells an endpoint of this kind from ZeroMQ's. */
const SCHEME = 'unix://';

export class LocalLink implements Link {
  private readonly path: string;
  private readonly events: LinkEvents;
  private stream: Socket | null = null;
  private connection: FrameSocket | null = null;
  private redial: NodeJS.Timeout | null = null;
  private delayMs: number = WORKER_LIMITS.reconnectMinMs;

  /** Whether an endpoint is one of this kind. */
  static serves(endpoint: string): boolean {
    return endpoint.startsWith(SCHEME);
  }

  /** @param endpoint `unix://` and the path of the engine's socket. */
  constructor(endpoint: string, events: LinkEvents) {
    this.path = endpoint.slice(SCHEME.length);
    this.events = events;
  }

  open(): void {
    // Read into one buffer: fresh memory for every piece costs more than the reading.
    const onread = {
      buffer: new Uint8Array(READ_BYTES),
      callback: (length: number, buffer: Uint8Array): boolean => {
        connection.receive(buffer.subarray(0, length));
        return true;
      },
    };
    const stream = connect({ path: this.path, onread });
    let ring: SharedRing | null = null;
    const connection = new FrameSocket(
      stream,
      {
        onMessage: (frames) => {
          if (this.stream === stream) this.events.message(frames);
        },
        onClose: () => {
          ring?.close();
          if (this.stream === stream) this.lost();
        },
      },
      {
        ...{ bounds: WORKER_BOUNDS, memory: 'lent' },
        later: (callback) => process.nextTick(callback),
      },
    );
    this.stream = stream;
    stream.once('connect', () => {
      if (this.stream !== stream) return;
      this.delayMs = WORKER_LIMITS.reconnectMinMs;
      this.connection = connection;
      ring = SharedRing.create();
      if (ring !== null) connection.offer(ring);
      this.events.up();
    });
  }

  send(frames: Uint8Array[]): boolean {
    const { connection } = this;
    if (connection === null) return true;
    if (connection.queuedBytes <= WORKER_LIMITS.sendQueueBytes) return connection.send(frames);
    this.restart();
    return true;
  }

  restart(pauseMs = 0): void {
    this.delayMs = Math.max(this.delayMs, pauseMs);
    this.stream?.destroy();
    this.lost();
  }

  close(): Promise<void> {
    const { stream } = this;
    this.stream = null;
    this.connection = null;
    if (this.redial !== null) clearTimeout(this.redial);
    if (stream === null || stream.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => stream.destroy(), WORKER_LIMITS.lingerMs);
      stream.once('close', () => {
        clearTimeout(timer);
        resolve();
      });
      stream.end();
    });
  }

  private lost(): void {
    const wasUp = this.connection !== null;
    this.stream = null;
    this.connection = null;
    this.redial = setTimeout(() => this.open(), this.delayMs);
    this.delayMs = Math.min(2 * this.delayMs, WORKER_LIMITS.reconnectMaxMs);
    if (wasUp) this.events.down();
  }
}
