/** @file The engine's private socket for its kernel: requests in, replies, panel states and notices out. */
import * as zmq from 'zeromq';
import type { PanelState } from '@ravenlab/protocol';
import { RavenError, toWireError } from '@ravenlab/protocol';
import type { Notice, ToEngine, ToKernel } from './kernelWire.js';
import { KERNEL_FRAME_BYTES, decodeKernelMessage, encodeKernelMessage } from './kernelWire.js';

export interface KernelPortHandlers {
  onMessage(message: ToEngine): void;
  /** A message that is none of ours; it is ignored. */
  onUnreadable(error: Error): void;
  /** The socket failed, or a mistake of ours came to light. */
  onFatal(error: unknown): void;
}

export class KernelPort {
  private readonly socket = new zmq.Router({
    mandatory: true,
    sendTimeout: 0,
    sendHighWaterMark: 0,
    receiveHighWaterMark: 0,
    linger: 0,
    maxMessageSize: KERNEL_FRAME_BYTES,
  });
  private readonly handlers: KernelPortHandlers;
  /** The kernel speaks first; a restarted kernel takes the place of the one before. */
  private kernel: Buffer | null = null;
  private closing = false;

  constructor(handlers: KernelPortHandlers) {
    this.handlers = handlers;
  }

  async listen(endpoint: string): Promise<void> {
    await this.socket.bind(endpoint);
    void this.receive();
  }

  reply(id: number, reply: Extract<ToKernel, { kind: 'reply' }>['reply']): void {
    this.send({ kind: 'reply', id, reply });
  }

  fail(id: number, error: unknown): void {
    const meta = error instanceof RavenError ? error.meta : {};
    this.send({ kind: 'failed', id, error: toWireError(error), meta });
  }

  panel(state: PanelState): void {
    this.send({ kind: 'panel', state });
  }

  notice(notice: Notice): void {
    this.send({ kind: 'notice', notice });
  }

  close(): void {
    this.closing = true;
    this.socket.close();
  }

  private send(message: ToKernel): void {
    if (this.kernel === null || this.closing) return;
    this.socket.send([this.kernel, ...encodeKernelMessage(message)]).catch(() => {
      // The kernel is gone; the pipe to it says so too and ends this process.
    });
  }

  /** Ends when the socket is closed. */
  private async receive(): Promise<void> {
    try {
      for await (const [id, ...frames] of this.socket) this.take(id, frames);
    } catch (error) {
      this.handlers.onFatal(error);
    }
  }

  private take(id: Uint8Array | undefined, frames: Uint8Array[]): void {
    if (id === undefined) return;
    let message: ToEngine;
    try {
      message = decodeKernelMessage(frames) as ToEngine;
    } catch (error) {
      this.handlers.onUnreadable(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    this.kernel = Buffer.from(id);
    this.handlers.onMessage(message);
  }
}
