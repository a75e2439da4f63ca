/** @file The five ZeroMQ sockets of a kernel. Frames in, frames out; no message format here. */

import * as zmq from 'zeromq';
import { KERNEL_LIMITS } from '@ravenlab/protocol';
import { endpointOf } from './connection.js';
import type { Channel, ConnectionInfo } from './connection.js';

/** Channels that carry requests to the kernel. */
export type RequestChannel = 'shell' | 'control' | 'stdin';

type Frames = (Uint8Array | string)[];

/** What arrives. */
export interface SocketEvents {
  onMessage(channel: RequestChannel, frames: Uint8Array[]): void;
  /** A client subscribed to IOPub messages that start with `topic`. */
  onSubscribe(topic: Uint8Array): void;
  onError(context: string, error: unknown): void;
}

/**
 * Every socket sends at once or not at all and has no high-water mark: with the defaults zeromq.js
 * rejects (EBUSY) or drops messages when a cell prints fast. What bounds the queue is the output that a
 * cell may have in flight. Options must be set before bind.
 */
const SOCKET_OPTIONS = {
  sendTimeout: 0,
  sendHighWaterMark: 0,
  linger: KERNEL_LIMITS.shutdownFlushMs,
  maxMessageSize: KERNEL_LIMITS.frameBytes,
};

/** All sockets of one kernel. */
export class KernelSockets {
  private readonly events: SocketEvents;
  private readonly requests: Record<RequestChannel, zmq.Router>;
  private readonly iopub: zmq.XPublisher;
  private readonly heartbeat: zmq.Reply;
  private isClosed = false;

  private constructor(events: SocketEvents) {
    this.events = events;
    zmq.context.blocky = false;
    // A client that reconnects keeps its identity.
    const router = (): zmq.Router => new zmq.Router({ ...SOCKET_OPTIONS, handover: true });
    this.requests = { shell: router(), control: router(), stdin: router() };
    this.iopub = new zmq.XPublisher({ ...SOCKET_OPTIONS, verbosity: 'allSubs' });
    this.heartbeat = new zmq.Reply(SOCKET_OPTIONS);
  }

  /** Binds all sockets; throws if a port is taken. Nothing is received before {@link listen}. */
  static async bind(connection: ConnectionInfo, events: SocketEvents): Promise<KernelSockets> {
    const sockets = new KernelSockets(events);
    const bound: Record<Channel, zmq.Socket> = {
      ...sockets.requests,
      iopub: sockets.iopub,
      heartbeat: sockets.heartbeat,
    };
    await Promise.all(
      Object.entries(bound).map(([channel, socket]) =>
        socket.bind(endpointOf(connection, channel as Channel)),
      ),
    );
    return sockets;
  }

  /** Queues a multipart message for a peer; it is on its way when this returns. */
  send(channel: RequestChannel | 'iopub', frames: Frames): void {
    if (this.isClosed) return;
    const socket = channel === 'iopub' ? this.iopub : this.requests[channel];
    socket
      .send(frames)
      .catch((error: unknown) => this.events.onError(`sending on ${channel}`, error));
  }

  /** True if a request has arrived on shell that `onMessage` has not seen yet. */
  get hasShellBacklog(): boolean {
    return this.requests.shell.readable;
  }

  /** Closes all sockets; queued messages leave in the background for at most the linger time. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    for (const socket of Object.values(this.requests)) socket.close();
    this.iopub.close();
    this.heartbeat.close();
  }

  /** Starts to hand over what arrives; call once, when the answers can be sent. */
  listen(): void {
    for (const channel of ['shell', 'control', 'stdin'] as const) {
      void this.loop(channel, this.requests[channel], (frames) =>
        this.events.onMessage(channel, frames),
      );
    }
    void this.loop('iopub', this.iopub, ([frame]) => {
      // XPUB reports a subscription as a byte 1 and the topic.
      if (frame?.[0] === 1) this.events.onSubscribe(frame.subarray(1));
    });
    void this.loop('heartbeat', this.heartbeat, (frames) => {
      void this.heartbeat.send(frames).catch(() => undefined);
    });
  }

  private async loop(
    name: string,
    socket: { receive(): Promise<Uint8Array[]> },
    handle: (frames: Uint8Array[]) => void,
  ): Promise<void> {
    const isOpen = (): boolean => !this.isClosed;
    while (isOpen()) {
      try {
        handle(await socket.receive());
      } catch (error) {
        if (isOpen()) this.events.onError(`receiving on ${name}`, error);
      }
    }
  }
}
